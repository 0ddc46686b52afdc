"""What a driver refuses. The engine shows the text to whoever asked it."""


class DriverError(Exception):
    """A call that cannot be carried out; one line for a user."""
