# One image; its command chooses the role: web, worker, tick or prepare (see compose.yaml).
FROM python:3.12-slim-bookworm

RUN apt-get update \
    && apt-get install -y --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 switchyard

WORKDIR /site
COPY requirements.txt constraints.txt ./
# MODELS=no leaves torch and friends out; TORCH_INDEX may name an index with PyTorch's CPU build.
ARG MODELS=yes
ARG TORCH_INDEX=""
RUN if [ "$MODELS" = no ]; then sed -i '/^# --- models/,$d' requirements.txt; fi \
    && pip install --no-cache-dir --only-binary :all: ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} \
        -r requirements.txt -c constraints.txt

COPY . .
RUN mkdir -p /data && chown switchyard:switchyard /data
ENV MODELS=$MODELS PYTHONUNBUFFERED=1 SWITCHYARD_VAR=/data HOST=0.0.0.0 PORT=8000
VOLUME /data
USER switchyard
EXPOSE 8000
ENTRYPOINT ["./role.sh"]
CMD ["web"]
