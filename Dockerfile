# One image for every party; the command says which one it is: server, keyholder, client, registrar, simulation.
FROM python:3.12-slim

# One thread per process: several parties usually share a machine.
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 MPLCONFIGDIR=/tmp

WORKDIR /app
COPY requirements.lock .
RUN pip install --no-cache-dir --require-hashes -r requirements.lock
COPY core core
COPY server server
COPY keyholder keyholder
COPY client client
COPY registrar registrar
COPY simulation simulation

RUN useradd --uid 10001 --create-home grokfed && install -d -o grokfed -g grokfed /state
USER grokfed
VOLUME /state

ENTRYPOINT ["python", "-m"]
CMD ["simulation", "--out", "/state"]
