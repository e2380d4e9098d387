# make run, make test; see README.md. Only relative paths, so the checkout may lie in any path, spaces included.
# Variables: PORT, DATABASE_URL, CELERY_BROKER_URL, MODELS=no, PYTHON, TORCH_INDEX; the others: docs/operations.md.

MODELS ?= yes
export MODELS
PYTHON_HERE := .venv/bin/python
REQUIREMENTS := requirements.txt constraints.txt install.sh
RUN_STAMP := .venv/.installed-run-$(MODELS)
TEST_STAMP := .venv/.installed-test-$(MODELS)
# Two cores, two processes; the browser tests share one stack and run in one more beside them, mostly waiting.
TEST_PROCESSES ?= 2
BROWSER_SAID := build/browser-tests.txt
# Tests start many processes, and where compiled Python is not kept each of them compiles everything again.
test test-unit test-browser test-long: export PYTHONDONTWRITEBYTECODE :=
CHECK_ENVIRONMENT := LOG_LEVEL=ERROR DATABASE_URL=postgresql://nobody@localhost/none SECRET_KEY=only-for-checks-never-served-to-anybody-0123456789abcdef

.PHONY: run test test-unit test-browser test-long lint clean

run: $(RUN_STAMP)
	@exec $(PYTHON_HERE) -m annotator.embedded --with-parent

# Both parts run at once, whatever becomes of the other. What the browser part says follows when both have ended, or
# were stopped: Ctrl-C reaches them by itself, other signals are passed on. In the background, so that this shell hears
# of a signal at once; a shell lets what it starts there ignore Ctrl-C, which Python undoes.
HEARS_CTRL_C := $(PYTHON_HERE) -c 'import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execvp(sys.argv[1], sys.argv[1:])'
test: $(TEST_STAMP)
	@mkdir -p $(dir $(BROWSER_SAID)); rm -f $(BROWSER_SAID)
	@parts=; trap : INT; trap 'kill -TERM $$parts' TERM HUP; \
	$(HEARS_CTRL_C) $(MAKE) --no-print-directory -k -j2 test-unit test-browser & parts=$$!; \
	wait $$parts; failed=$$?; while kill -0 $$parts 2>/dev/null; do wait $$parts; failed=$$?; done; \
	echo "=== in the browser"; cat $(BROWSER_SAID) || failed=1; \
	exit $$failed

# nice: somebody waits for a page over there.
test-unit: $(TEST_STAMP)
	exec nice -n 5 $(PYTHON_HERE) -m pytest -m "not slow and not browser" -n $(TEST_PROCESSES) --dist loadgroup --ignore=tests/browser

test-browser: $(TEST_STAMP)
	@mkdir -p $(dir $(BROWSER_SAID))
	exec $(PYTHON_HERE) -m pytest -m "browser and not slow" tests/browser >$(BROWSER_SAID) 2>&1

# Every part runs, whatever became of the one before; the first failure decides.
test-long: $(TEST_STAMP)
	@failed=0; set -x; \
	EXAMPLES=all $(PYTHON_HERE) -m pytest -m "(slow or hypothesis) and not browser" -n $(TEST_PROCESSES) --dist loadgroup \
	    --ignore=tests/browser || failed=1; \
	if grep -rlq --include='*.py' "mark.slow" tests/browser; then \
	    $(PYTHON_HERE) -m pytest -m "slow and browser" tests/browser || failed=1; \
	fi; \
	exit $$failed

lint: $(TEST_STAMP)
	@failed=0; set -x; export $(CHECK_ENVIRONMENT); \
	$(PYTHON_HERE) -m ruff check . || failed=1; \
	$(PYTHON_HERE) -m ruff format --check . || failed=1; \
	$(PYTHON_HERE) -m mypy annotator routing labelers || failed=1; \
	$(PYTHON_HERE) -m djlint --lint templates || failed=1; \
	$(PYTHON_HERE) manage.py makemigrations --check --dry-run || failed=1; \
	$(PYTHON_HERE) manage.py check --deploy --fail-level WARNING || failed=1; \
	exit $$failed

# A stamp a set of packages: nothing is asked of pip when nothing changed.
$(RUN_STAMP): $(REQUIREMENTS)
	@./install.sh run $(MODELS)
	@touch $@

$(TEST_STAMP): $(REQUIREMENTS) requirements-dev.txt tests/browser/chromium.py
	@./install.sh test $(MODELS)
	@$(PYTHON_HERE) -m tests.browser.chromium
	@touch $@ $(RUN_STAMP)

clean:
	rm -rf .venv build
