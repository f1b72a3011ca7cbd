"""Guests for tests; another folder takes them with `from tests.guests.fixtures import guest, guest_image`."""

from tests.guests.fixtures import guest, guest_image, transport

__all__ = ["guest", "guest_image", "transport"]
