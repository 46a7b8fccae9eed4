"""Colour grey faces: a CNN, a ResNet-50 and a GAN that predict a*b* from L."""

__version__ = "0.1.0"
