"""What programs ask for, at /api/v1/: the steps behind the pages, typed, with bearer tokens (docs/api.md).

One file a resource. A request is let in by its token's scope (`auth`), reads its body within limits (`bodies`), runs in
one transaction, once for each idempotency key (`once`), and is refused in one form (`problems`).
"""
