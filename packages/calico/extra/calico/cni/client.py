"""What a runtime starts: hands its input to the agent and prints the answer. Runs as a script, `client.py PLUGIN`.

A container's start waits for this program, so it imports what is built into the interpreter and no more; json, socket
and all of calico are loaded only when the agent is away and the work is done here.

On the socket: a line `calico-cni/1 PLUGIN ENVIRONMENT STDIN` with two lengths, then the variables CNI_... as
`NAME=VALUE`, each ended by a zero, and standard input. The descriptor of the container's network namespace, where there
is one, travels with the first byte. The answer is a line `STATUS LENGTH` and what to print; STATUS is the exit code, or
`decline` when the work is to be done here.
"""

import _socket
import posix
import sys

SOCKET = b"/run/calico/cni.sock"
PROTOCOL = b"calico-cni/1"
_DEADLINE = 100.0
_SOL_SOCKET, _SCM_RIGHTS = 1, 1
_O_CLOEXEC = 0o2000000


def main(plugin: str) -> int:
    """Do what the runtime asks; the exit code."""
    stdin = read_all()
    answer = ask_agent(plugin, stdin)
    if answer is None:
        return in_process(plugin, stdin)
    status, output = answer
    write_all(output)
    return status


def read_all() -> bytes:
    """Standard input; nothing where it is a terminal."""
    if posix.isatty(0):
        return b""
    parts = []
    while part := posix.read(0, 1 << 16):
        parts.append(part)
    return b"".join(parts)


def write_all(output: bytes) -> None:
    """Print the answer."""
    while output:
        output = output[posix.write(1, output) :]


def ask_agent(plugin: str, stdin: bytes) -> "tuple[int, bytes] | None":
    """What the agent answers; None when it is away, died over it, or leaves it to this process.

    What it did before it died is found and taken up, or taken back, by whoever does the same call again.
    """
    environment = b"".join(b"%b=%b\0" % pair for pair in posix.environ.items() if pair[0].startswith(b"CNI_"))
    namespace = open_namespace(posix.environ.get(b"CNI_NETNS", b""))
    rights = [(_SOL_SOCKET, _SCM_RIGHTS, namespace.to_bytes(4, sys.byteorder))] if namespace >= 0 else []
    head = b"%b %b %d %d\n" % (PROTOCOL, plugin.encode(), len(environment), len(stdin))
    agent = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    agent.settimeout(_DEADLINE)
    try:
        agent.connect(posix.environ.get(b"CALICO_CNI_SOCKET", SOCKET))
        try:
            agent.sendmsg([head], rights)
            agent.sendall(environment + stdin)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it has answered already, without hearing all of it: there is a crowd
        return read_answer(agent)
    except TimeoutError:
        # It may still be at it, so doing the same here would be two at once.
        return 1, b'{"code": 11, "msg": "dcos-calico-node did not answer in time; is etcd slow?"}\n'
    except OSError:
        return None
    finally:
        agent.close()
        if namespace >= 0:
            posix.close(namespace)


def open_namespace(path: bytes) -> int:
    """A descriptor of the container's namespace; -1 where there is none (any more)."""
    if not path:
        return -1
    try:
        return posix.open(path, posix.O_RDONLY | _O_CLOEXEC)
    except OSError:
        return -1


def read_answer(agent: "_socket.socket") -> "tuple[int, bytes] | None":
    """The agent's answer; None for one that is not whole."""
    received = b""
    try:
        while part := agent.recv(1 << 16):
            received += part
    except ConnectionResetError:
        pass  # what was sent before is here
    head, _, output = received.partition(b"\n")
    status, _, length = head.partition(b" ")
    if not length.isdigit() or int(length) != len(output) or status == b"decline":
        return None
    return int(status), output


def in_process(plugin: str, stdin: bytes) -> int:
    """Do the work here."""
    sys.path.insert(0, __file__.rpartition("/calico/")[0])
    from calico.cni.inprocess import run

    return run(plugin, stdin)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
