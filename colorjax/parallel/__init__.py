"""Devices, processes, and stopping them."""
