"""Upload a file and import it. SITE and TOKEN in the environment; project and file as arguments.

python import_file.py 1 rain.jsonl
"""

import os
import sys

from switchyard_client import Client, JobFailed, Refused


def main(project: int, path: str) -> int:
    client = Client(os.environ["SITE"], os.environ["TOKEN"])
    try:
        job = client.import_file(project, path)
    except (JobFailed, Refused) as failure:
        print(failure, file=sys.stderr)
        return 1
    print(job["message"])
    print(sum(1 for _each in client.comparisons(project, status="unlabelled")), "comparisons wait for a label")
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2]))
