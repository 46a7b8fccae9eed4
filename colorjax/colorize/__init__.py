"""Colouring photographs."""
