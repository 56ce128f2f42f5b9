"""The text of a simulated tool's executable: the lightest Python that can ask a Unix socket.

It connects from within the socket's directory: a socket's path may have 107 bytes only (unix(7)).
`-ISs`: no environment, no site packages; what it imports is what its start costs, about 15 ms.
A request is the length of what follows, a newline, then the tool's name and its arguments with NULs between them.
An answer is a line `<exit status> <bytes of standard output>`, standard output, standard error, and the end.
"""

from __future__ import annotations

SCRIPT = """\
#!{python} -ISs
import os, socket, sys
def put(number, data):
    while data:
        data = data[os.write(number, data):]
connection = socket.socket(socket.AF_UNIX)
try:
    os.chdir({directory!r})
    connection.connect({socket!r})
    words = b"\\0".join(os.fsencode(word) for word in [{tool!r}, *sys.argv[1:]])
    connection.sendall(b"%d\\n" % len(words) + words)
    answer = bytearray()
    while part := connection.recv(1 << 20):
        answer += part
except OSError as error:
    answer, reason = b"", error.strerror
else:
    reason = "it ended before it answered"
head, found, body = bytes(answer).partition(b"\\n")
if not found:
    sys.stderr.write("{tool} (simulated): the simulator at {directory}/{socket} does not answer: " + reason + "\\n")
    sys.stderr.flush()
    os._exit(1)
status, length = map(int, head.split())
try:
    put(1, body[:length])
    put(2, body[length:])
except BrokenPipeError:
    os._exit(141)
os._exit(status)
"""
