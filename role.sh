#!/bin/sh
# The command of the container image: prepare, web, worker [queues], worker gpu, tick, or any management command.
set -eu
role=${1:-web}

# One process a GPU, each sees its own alone. Solo: CUDA does not survive a fork, and a card holds one model at a time.
gpu_workers() {
    # Their numbers, comma between two: GPUS, or all that nvidia-smi lists.
    gpus=${GPUS:-$(nvidia-smi --query-gpu=index --format=csv,noheader 2>/dev/null | tr '\n' ',')}
    if [ -z "$gpus" ]; then
        echo "no GPU: nvidia-smi lists none. Name them (GPUS=0,1), or run models on the CPU: worker default,gpu" >&2
        exit 1
    fi
    workers=
    stopping=
    trap 'stopping=yes; kill -TERM $workers 2>/dev/null || true' INT TERM
    for gpu in $(echo "$gpus" | tr , ' '); do
        CUDA_VISIBLE_DEVICES=$gpu python -m celery -A annotator worker --without-gossip --without-mingle -l INFO \
            -Q gpu -P solo -c 1 -n "gpu$gpu@%h" &
        workers="$workers $!"
    done
    while [ -z "$stopping" ] && all_run; do
        sleep 1 &
        wait $! || true
    done
    # One that ended takes the others with it: whoever started this role starts all of them again.
    kill -TERM $workers 2>/dev/null || true
    wait
    [ -n "$stopping" ]
}

all_run() {
    for pid in $workers; do
        kill -0 "$pid" 2>/dev/null || return 1
    done
}

case $role in
web) exec python -m gunicorn -c gunicorn.conf.py annotator.wsgi ;;
worker)
    if [ "${2:-}" = gpu ]; then
        gpu_workers
        exit
    fi
    exec python -m annotator.workers "${2:-default,http,gpu}" "${WORKER_PROCESSES:-2}"
    ;;
*) exec python manage.py "$@" ;;
esac
