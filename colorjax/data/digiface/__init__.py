"""DigiFace-1M."""
