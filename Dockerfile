# syntax=docker/dockerfile:1
# Two stages: the first compiles with everything C libraries need, the second holds the binary and the declarations.

FROM rust:1.95-bookworm AS build
# librdkafka, OpenSSL (vendored), zstd and AWS-LC are compiled from source.
RUN apt-get update \
    && apt-get install -y --no-install-recommends cmake perl make pkg-config \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY src src
COPY tests tests
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked --bin medallion \
    && cp target/release/medallion /usr/local/bin/medallion

FROM debian:bookworm-slim
# Brokers and object stores are reached over TLS.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin medallion \
    && install -d -o medallion -g medallion /project /var/lib/medallion
COPY --from=build /usr/local/bin/medallion /usr/local/bin/medallion
COPY medallion.toml /project/
COPY layers /project/layers
COPY schemas /project/schemas
COPY data /project/data
WORKDIR /project
USER medallion
ENV MEDALLION_LAKE=/var/lib/medallion/lake \
    MEDALLION_CHECKPOINTS=/var/lib/medallion/checkpoints
VOLUME /var/lib/medallion
EXPOSE 9464
ENTRYPOINT ["medallion"]
CMD ["run"]
