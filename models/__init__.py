"""The model zoo: the files and the code that draws them, a package so that tests/models is not taken for it."""
