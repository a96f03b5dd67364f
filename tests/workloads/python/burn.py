"""An interpreter's native stack: works in the evaluation loop until it is stopped."""
import random
import signal
import sys
import time

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))


def burn(rounds):
    total = 0
    for number in range(rounds):
        total = (total * 31 + number) % 1000003
    return total


print("ready", flush=True)
deadline = time.monotonic() + 120
while time.monotonic() < deadline:
    burn(random.randrange(5000, 15000))
