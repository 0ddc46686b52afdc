"""What stops a command: one line that says where, what, and what to do."""


class EtcdError(Exception):
    """A failure a user can act on. `status` is the command's exit status: 1 the state is wrong, 3 etcd or ZooKeeper."""

    def __init__(self, where: str, message: str, hint: str = "", status: int = 1) -> None:
        self.status = status
        text = f"{where}: {message}" + (f" ({hint})" if hint else "")
        super().__init__(" ".join(text.split()))
