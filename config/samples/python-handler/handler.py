"""Counts words: a task type in Python.

The payload comes on standard input, the result goes to standard output. Exit code 0 is a success, 75 asks for another
attempt, and every other one says that another attempt would fail too. What is written to standard error becomes the
message of the error. Tasks run at least once, so a handler should bear to be repeated: TIDEMILL_TASK_ID is the same then.
"""

import json
import os
import sys
from collections import Counter

TRY_AGAIN = 75


def main() -> int:
    payload = json.load(sys.stdin)
    text = payload.get("text")
    if not isinstance(text, str):
        print("payload.text: is missing, or is not a text", file=sys.stderr)
        return 1
    if payload.get("busy") and os.environ["TIDEMILL_ATTEMPT"] == "1":
        print("not now", file=sys.stderr)
        return TRY_AGAIN
    words = Counter(text.lower().split())
    result = {"words": sum(words.values()), "most": words.most_common(3), "attempt": int(os.environ["TIDEMILL_ATTEMPT"])}
    json.dump(result, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
