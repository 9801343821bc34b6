"""Architectures by name."""

from collections.abc import Mapping

from starcli.registry.entry import Entry

ARCHITECTURES: Mapping[str, Entry] = {
    "mlp": Entry("starcli.models.mlp:mlp", "fully connected, any depth and width"),
    "vgg11": Entry("starcli.models.vgg:vgg11", "VGG-11 for small images"),
    "vgg19": Entry("starcli.models.vgg:vgg19", "VGG-19 for small images"),
    "vgg11-bn": Entry("starcli.models.vgg:vgg11_bn", "VGG-11 with batch normalisation"),
    "vgg19-bn": Entry("starcli.models.vgg:vgg19_bn", "VGG-19 with batch normalisation"),
    "resnet18-cifar": Entry("starcli.models.resnet:resnet18_cifar", "ResNet-18 for small images, base width 64"),
    "resnet": Entry("starcli.models.resnet:resnet", "small ResNet, n blocks a stage"),
    "wrn": Entry("starcli.models.wrn:wrn", "Wide ResNet by depth and widening factor"),
    "densenet40-12": Entry("starcli.models.densenet:densenet40_12", "DenseNet-40, growth rate 12"),
    "resnet18": Entry("starcli.models.torchvision:resnet18", "torchvision's ResNet-18"),
    "resnet50": Entry("starcli.models.torchvision:resnet50", "torchvision's ResNet-50"),
    "vit": Entry("starcli.models.vit:vit", "minimal vision transformer"),
    "bag": Entry("starcli.models.bag:bag", "bag of embeddings, for texts"),
    "textcnn": Entry("starcli.models.textcnn:textcnn", "convolutions over a text"),
    "bert": Entry("starcli.models.bert:bert", "small encoder of texts, post-norm"),
    "gpt": Entry("starcli.models.gpt:gpt", "small decoder of texts, pre-norm: next tokens, or classes"),
}
"""`--arch`: functions of keyword arguments that build a network."""
