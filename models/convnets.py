"""The convolutional networks, one function each, oldest first."""

from collections.abc import Sequence

from onnx import ModelProto

from models.layers import Net, Wire

# VGG's configurations: the channels of each stage and how many convolutions it has.
VGG_CHANNELS = (64, 128, 256, 512, 512)
VGG16_CONVOLUTIONS = (2, 2, 3, 3, 3)
VGG19_CONVOLUTIONS = (2, 2, 4, 4, 4)

# GoogLeNet's nine modules: 1x1, 3x3 after its reduction, second 3x3 after its reduction, pool projection.
INCEPTIONS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}

# MobileNetV2's table 2: expansion, channels, repeats, stride of the first repeat.
INVERTED_RESIDUALS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def lenet5() -> ModelProto:
    """LeCun, Bottou, Bengio, Haffner 1998, in the modern form.

    ReLU for the scaled tanh, max pooling for the trainable subsampling, every map of C3 connected to every map of S2,
    a linear layer for the radial basis functions.
    """
    net = Net("lenet5")
    x = net.image(1, 32)
    x = net.relu(net.conv(x, "c1", 6, 5, pad=0), "relu1")
    x = net.max_pool(x, "s2", 2, 2)
    x = net.relu(net.conv(x, "c3", 16, 5, pad=0), "relu3")
    x = net.max_pool(x, "s4", 2, 2)
    x = net.flatten(x, "flatten", positions=5 * 5)
    x = net.relu(net.linear(x, "c5", 120), "relu5")
    x = net.relu(net.linear(x, "f6", 84), "relu6")
    x = net.linear(x, "output", 10)
    return net.model(x.name, ["batch", 10])


def alexnet() -> ModelProto:
    """Krizhevsky 2014, 'One weird trick for parallelizing convolutional neural networks', as torchvision has it.

    One tower, no groups, no local response normalisation; the adaptive pooling to 6x6 changes nothing at 224x224 and is
    left out.
    """
    net = Net("alexnet")
    x = net.image(3, 224)
    x = net.relu(net.conv(x, "conv1", 64, 11, stride=4, pad=2), "relu1")
    x = net.max_pool(x, "pool1", 3, 2)
    x = net.relu(net.conv(x, "conv2", 192, 5), "relu2")
    x = net.max_pool(x, "pool2", 3, 2)
    x = net.relu(net.conv(x, "conv3", 384, 3), "relu3")
    x = net.relu(net.conv(x, "conv4", 256, 3), "relu4")
    x = net.relu(net.conv(x, "conv5", 256, 3), "relu5")
    x = net.max_pool(x, "pool5", 3, 2)
    x = net.flatten(x, "flatten", positions=6 * 6)
    return _three_linear(net, x, classes=1000)


def vgg16() -> ModelProto:
    """Simonyan, Zisserman 2014, configuration D."""
    net = Net("vgg16")
    x = _vgg_features(net, VGG16_CONVOLUTIONS)
    x = net.flatten(net.max_pool(x, "pool5", 2, 2), "flatten", positions=7 * 7)
    return _three_linear(net, x, classes=1000)


def vgg19() -> ModelProto:
    """Simonyan, Zisserman 2014, configuration E."""
    net = Net("vgg19")
    x = _vgg_features(net, VGG19_CONVOLUTIONS)
    x = net.flatten(net.max_pool(x, "pool5", 2, 2), "flatten", positions=7 * 7)
    return _three_linear(net, x, classes=1000)


def vgg16_lecture() -> ModelProto:
    """VGG-16 as a lecture of 2016 drew it: no pooling after conv5, so fc6 reads 14x14x512, and 100 classes."""
    net = Net("vgg16_lecture")
    x = _vgg_features(net, VGG16_CONVOLUTIONS)
    x = net.flatten(x, "flatten", positions=14 * 14)
    return _three_linear(net, x, classes=100)


def _vgg_features(net: Net, convolutions: Sequence[int]) -> Wire:
    """The five stages of 3x3 convolutions, pooled between but not after the last."""
    x = net.image(3, 224)
    for stage, (channels, repeats) in enumerate(zip(VGG_CHANNELS, convolutions, strict=True), 1):
        if stage > 1:
            x = net.max_pool(x, f"pool{stage - 1}", 2, 2)
        for i in range(1, repeats + 1):
            x = net.conv(x, f"conv{stage}/conv{stage}_{i}", channels, 3)
            x = net.relu(x, f"conv{stage}/relu{stage}_{i}")
    return x


def _three_linear(net: Net, x: Wire, classes: int) -> ModelProto:
    """The classifier that AlexNet and VGG share, and the end of the model."""
    x = net.relu(net.linear(x, "fc6", 4096), "relu6")
    x = net.relu(net.linear(x, "fc7", 4096), "relu7")
    x = net.linear(x, "fc8", classes)
    return net.model(x.name, ["batch", classes])


def googlenet() -> ModelProto:
    """Szegedy et al. 2014, 'Going deeper with convolutions', as torchvision has it, without the auxiliary heads.

    Batch normalisation for the local response normalisation, and a 3x3 where the paper has its 5x5 branch.
    """
    net = Net("googlenet")
    x = net.image(3, 224)
    x = _conv_bn_relu(net, x, "conv1/7x7_s2", 64, 7, stride=2)
    x = net.max_pool(x, "pool1/3x3_s2", 3, 2, ceil=True)
    x = _conv_bn_relu(net, x, "conv2/3x3_reduce", 64, 1)
    x = _conv_bn_relu(net, x, "conv2/3x3", 192, 3)
    x = net.max_pool(x, "pool2/3x3_s2", 3, 2, ceil=True)
    for module, channels in INCEPTIONS.items():
        x = _inception(net, x, f"inception_{module}", channels)
        if module == "3b":
            x = net.max_pool(x, "pool3/3x3_s2", 3, 2, ceil=True)
        elif module == "4e":
            x = net.max_pool(x, "pool4/2x2_s2", 2, 2, ceil=True)
    x = net.flatten(net.global_pool(x, "pool5/7x7_s1"), "flatten")
    x = net.linear(x, "loss3/classifier", 1000)
    return net.model(x.name, ["batch", 1000])


def _inception(net: Net, x: Wire, scope: str, channels: tuple[int, int, int, int, int, int]) -> Wire:
    """Four branches over one input, side by side."""
    one, reduce_a, three_a, reduce_b, three_b, projection = channels
    branch1 = _conv_bn_relu(net, x, f"{scope}/1x1", one, 1)
    branch2 = _conv_bn_relu(net, x, f"{scope}/3x3_reduce", reduce_a, 1)
    branch2 = _conv_bn_relu(net, branch2, f"{scope}/3x3", three_a, 3)
    branch3 = _conv_bn_relu(net, x, f"{scope}/3x3b_reduce", reduce_b, 1)
    branch3 = _conv_bn_relu(net, branch3, f"{scope}/3x3b", three_b, 3)
    branch4 = net.max_pool(x, f"{scope}/pool", 3, 1, pad=1, ceil=True)
    branch4 = _conv_bn_relu(net, branch4, f"{scope}/pool_proj", projection, 1)
    return net.concat([branch1, branch2, branch3, branch4], f"{scope}/output")


def _conv_bn_relu(net: Net, x: Wire, name: str, channels: int, kernel: int, stride: int = 1) -> Wire:
    x = net.conv(x, name, channels, kernel, stride=stride, bias=False)
    return net.relu(net.batch_norm(x, f"{name}/bn", epsilon=1e-3), f"{name}/relu")


def resnet18() -> ModelProto:
    """He, Zhang, Ren, Sun 2015, table 1, 18 layers."""
    return _resnet("resnet18", (2, 2, 2, 2), bottleneck=False)


def resnet50() -> ModelProto:
    """He, Zhang, Ren, Sun 2015, table 1, 50 layers, with torchvision's stride on the 3x3 instead of the first 1x1."""
    return _resnet("resnet50", (3, 4, 6, 3), bottleneck=True)


def resnet152() -> ModelProto:
    """He, Zhang, Ren, Sun 2015, table 1, 152 layers, with torchvision's stride on the 3x3 instead of the first 1x1."""
    return _resnet("resnet152", (3, 8, 36, 3), bottleneck=True)


def _resnet(name: str, repeats: Sequence[int], *, bottleneck: bool) -> ModelProto:
    net = Net(name)
    x = net.image(3, 224)
    x = net.conv(x, "conv1", 64, 7, stride=2, bias=False)
    x = net.relu(net.batch_norm(x, "bn1"), "relu")
    x = net.max_pool(x, "maxpool", 3, 2, pad=1)
    for stage, blocks in enumerate(repeats):
        for block in range(blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            x = _residual(net, x, f"layer{stage + 1}.{block}", 64 << stage, stride, bottleneck=bottleneck)
    x = net.flatten(net.global_pool(x, "avgpool"), "flatten")
    x = net.linear(x, "fc", 1000)
    return net.model(x.name, ["batch", 1000])


def _residual(net: Net, x: Wire, scope: str, width: int, stride: int, *, bottleneck: bool) -> Wire:
    """Two 3x3, or 1x1, 3x3 and a four times wider 1x1, around a shortcut that is projected where its size changes."""
    if bottleneck:
        convolutions = [(width, 1, 1), (width, 3, stride), (4 * width, 1, 1)]
    else:
        convolutions = [(width, 3, stride), (width, 3, 1)]
    y = x
    for i, (channels, kernel, step) in enumerate(convolutions, 1):
        y = net.conv(y, f"{scope}.conv{i}", channels, kernel, stride=step, bias=False)
        y = net.batch_norm(y, f"{scope}.bn{i}")
        if i < len(convolutions):
            y = net.relu(y, f"{scope}.relu{i}")
    if stride > 1 or x.channels != y.channels:
        x = net.conv(x, f"{scope}.downsample.conv", y.channels, 1, stride=stride, bias=False)
        x = net.batch_norm(x, f"{scope}.downsample.bn")
    return net.relu(net.add(y, x, f"{scope}.add"), f"{scope}.relu{len(convolutions)}")


def unet() -> ModelProto:
    """Ronneberger, Fischer, Brox 2015, figure 1, at a quarter of the width.

    Padded convolutions, so that nothing is cropped before a concatenation; 256x256 grey images, two classes a pixel.
    """
    net = Net("unet")
    x = net.image(1, 256)
    skips = []
    for level, channels in enumerate((16, 32, 64, 128), 1):
        x = _double_conv(net, x, f"down{level}", channels)
        skips.append(x)
        x = net.max_pool(x, f"down{level}/pool", 2, 2)
    x = _double_conv(net, x, "bottom", 256)
    for level, skip in zip(range(4, 0, -1), reversed(skips), strict=True):
        x = net.up_conv(x, f"up{level}/upconv", skip.channels)
        x = net.concat([skip, x], f"up{level}/concat")
        x = _double_conv(net, x, f"up{level}", skip.channels)
    x = net.conv(x, "head", 2, 1)
    return net.model(x.name, ["batch", 2, 256, 256])


def _double_conv(net: Net, x: Wire, scope: str, channels: int) -> Wire:
    for i in (1, 2):
        x = net.relu(net.conv(x, f"{scope}/conv{i}", channels, 3), f"{scope}/relu{i}")
    return x


def mobilenet_v2() -> ModelProto:
    """Sandler, Howard, Zhu, Zhmoginov, Chen 2018, table 2, width 1.0, as torchvision has it."""
    net = Net("mobilenet_v2")
    x = net.image(3, 224)
    net.number("relu6.min", 0.0)
    net.number("relu6.max", 6.0)
    x = _conv_bn_relu6(net, x, "stem", 32, 3, stride=2)
    block = 0
    for expansion, channels, repeats, first_stride in INVERTED_RESIDUALS:
        for i in range(repeats):
            block += 1
            x = _inverted_residual(
                net, x, f"block{block}", expansion, channels, first_stride if i == 0 else 1
            )
    x = _conv_bn_relu6(net, x, "head", 1280, 1)
    x = net.flatten(net.global_pool(x, "avgpool"), "flatten")
    x = net.linear(x, "classifier", 1000)
    return net.model(x.name, ["batch", 1000])


def _inverted_residual(net: Net, x: Wire, scope: str, expansion: int, channels: int, stride: int) -> Wire:
    """Widen by a 1x1, filter each channel by its own 3x3, project back without an activation."""
    hidden = x.channels * expansion
    y = _conv_bn_relu6(net, x, f"{scope}/expand", hidden, 1) if expansion > 1 else x
    y = _conv_bn_relu6(net, y, f"{scope}/depthwise", hidden, 3, stride=stride, groups=hidden)
    y = net.batch_norm(net.conv(y, f"{scope}/project", channels, 1, bias=False), f"{scope}/project/bn")
    return net.add(x, y, f"{scope}/add") if stride == 1 and x.channels == channels else y


def _conv_bn_relu6(
    net: Net, x: Wire, name: str, channels: int, kernel: int, *, stride: int = 1, groups: int = 1
) -> Wire:
    x = net.conv(x, name, channels, kernel, stride=stride, groups=groups, bias=False)
    x = net.batch_norm(x, f"{name}/bn")
    return x._replace(name=net.node("Clip", [x.name, "relu6.min", "relu6.max"], f"{name}/relu6"))
