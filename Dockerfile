# The gRPC server. Built in one stage, run in another: the image has no compiler, no pip cache and no sources.

ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/venv
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY analyzer analyzer
RUN /opt/venv/bin/pip install --quiet .

FROM python:${PYTHON}-slim
RUN useradd --system --uid 10001 --no-create-home analyzer
COPY --from=build /opt/venv /opt/venv
# Nothing is written but what Python itself puts under /tmp, so the rest of the file system may be read-only.
ENV PATH=/opt/venv/bin:$PATH HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001
WORKDIR /tmp
EXPOSE 50051
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
  CMD ["onnx-analyzer", "remote", "--address", "localhost:50051", "health"]
CMD ["onnx-analyzer", "serve", "--host", "0.0.0.0", "--port", "50051"]
