"""The annotator's seat over HTTP. The page is `templates/annotate/`, its script `static/workbench.js`.

Everything a page sends and shows is in ON-SCREEN order: a level below 0 and side `a` mean the response shown first
(left, letter A). `pipeline.judge` turns it into the comparison's own order. No model name is in any context below.

Templates
    annotate/workbench.html    the whole page; includes `fragment`, which is one of the next two
    annotate/_comparison.html  one comparison with its form
    annotate/_queue_empty.html why there is none

Context of `_comparison.html`
    project     Project
    assignment  Assignment: `pk`, `leased_until`, `active_ms` (ms already counted), `draft_saved_at`
    turns       annotator.rendering's pieces of the prompt: `rendering.rendered_prompt(prompt)`
    left, right Side(letter "A"/"B", html, text); html is `rendering.rendered(response)`, text as stored
    protocol    Protocol row (`pk`, `version`); send its pk back as `protocol`
    definition  protocols.Definition
    given       the draft or the refused answer: {} or the nested shape below (what controls start with)
    error       None, or Refusal(field, reason): field is "level", "justification", "aspects.helpful", "client_id" …
    undo        None, or Undo(assignment_id, until): the last judgment, while it can be taken back
    ahead       True when this is the comparison after the one on screen (leased as prefetched, not opened)
Context of `_queue_empty.html`: project, reason (words), undo, ahead False.
Context of `workbench.html`: all of its fragment's, and tab "annotate", fragment (template name), done_today (int).

Addresses (all but the first are under /assignments/<assignment_id>/; one that is not mine is 404; POST needs the
CSRF token; without a session they redirect to the login page, which a script sees as `response.redirected`)
    GET  annotate   /projects/<project_id>/annotate/  the page: my open lease if I have one, else a new one. An htmx
                    request gets the fragment alone.
    POST judgment   an answer; form-encoded or JSON. 200: the fragment of the next comparison, or of the empty queue.
                    422: this comparison's fragment again, with `error` and `given`. Sent twice with one client_id it
                    is stored once and answered the same way.
                    With `showing=<id of the prefetched assignment the page has put on screen already>` the reply is
                    the comparison after that one, header `Seat-Fragment: ahead` (204 when there is none: ask
                    `prefetch` later); when the shown one had been taken over meanwhile: its replacement with
                    `Seat-Fragment: current`, to be put on screen. One request a judgment is enough this way.
    POST draft      the same fields, any missing. 200 {"saved_at": ISO time}; 409 when it was judged or lost meanwhile.
    POST skip       reason (may be empty). 200: next fragment, as `judgment` (takes `showing` too).
    POST flag       reason (422 when empty), and=skip to skip it as well. 204, or as `skip`.
    POST undo       200: this comparison's fragment with the answer as `given`; 409 (text) when the 10 s are over.
    POST open       the prefetched comparison is on screen now: 204; 409 with the fragment to show instead when it
                    had been taken over.
    GET  prefetch   the comparison after this one, `ahead`; 204 when nothing is left to fetch ahead.
Every fragment reply has `Seat-Fragment: current | ahead | empty` and, but for `empty`, `Seat-Assignment: <id>`.

Fields of an answer, form-encoded
    client_id (UUID, made once per comparison on screen), active_ms (int), protocol (pk),
    outcome (level | neither_valid | cannot_judge; default level), level (int), confidence (1-3),
    aspect.<key>.level, aspect.<key>.confidence, aspect.<key>.reasons (repeated),
    attribute.<key>.a, attribute.<key>.b, reasons (repeated), justification
or as JSON, which is also the shape of `given` and of a stored draft:
    {"client_id", "active_ms", "protocol", "showing", "outcome", "level", "confidence",
     "aspects": {key: {"level", "confidence", "reasons": [key]}}, "attributes": {key: {"a", "b"}},
     "reasons": [key], "justification"}
"""
