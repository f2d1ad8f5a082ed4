# One image for every party; the command says which one it is: server, keyholder, client, registrar, simulation, dashboard.

# A stage with a C compiler, which the parties' image does without: it compiles the kernels.
FROM python:3.12-slim AS kernels
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /kernels
COPY core/secagg/kernel .
RUN python build.py && test -f proofs.so && case "$(uname -m)" in x86_64) test -f ifma.so && test -f avx2.so;; esac

FROM python:3.12-slim

# One thread per process: several parties usually share a machine.
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 MPLCONFIGDIR=/tmp

WORKDIR /app
COPY requirements.lock .
RUN pip install --no-cache-dir --require-hashes -r requirements.lock
COPY core core
COPY results results
COPY server server
COPY keyholder keyholder
COPY client client
COPY registrar registrar
COPY simulation simulation
COPY book book
COPY experiments experiments
COPY dashboard dashboard
COPY --from=kernels /kernels core/secagg/kernel
# Containers cannot write to their image, and would compile all of it at every start.
RUN python -m compileall -q .

# The folders that compose.yaml mounts volumes at are here already, because a new volume gets their owner.
RUN useradd --uid 10001 --create-home grokfed \
    && for name in passphrases server observer keyholder-1 keyholder-2 keyholder-3 keyholder-4; do \
         set -- "$@" "/federation/$name"; \
       done \
    && install -d -m 700 -o grokfed -g grokfed /state /identity /passphrase /invitation /federation "$@"
USER grokfed
VOLUME /state

ENTRYPOINT ["python", "-m"]
CMD ["simulation", "--out", "/state/simulation"]
