# The capture step's image: the sidecar's bundle and iptables. It runs once before a Pod's containers, with NET_ADMIN and nothing else.
# Build it from the top of a checkout: docker buildx build -f deploy/images/capture.Dockerfile -t weft/capture:VERSION .
# The base is pinned by version; a release pins it by digest as well (deploy/images/README.md).
ARG NODE_IMAGE=docker.io/library/node:26.10.0-trixie-slim

# The bundle is the same for every architecture but for one native library, so it is built where the builder runs.
FROM --platform=$BUILDPLATFORM ${NODE_IMAGE} AS build
ARG TARGETARCH
WORKDIR /build
COPY package.json pnpm-lock.yaml pnpm-workspace.yaml ./
COPY bin ./bin
COPY src ./src
COPY proto ./proto
RUN node bin/setup.mjs && node bin/build.mjs --image sidecar --arch "$TARGETARCH" --without-maps

FROM ${NODE_IMAGE}
# The nf_tables flavour is Debian's default, and the one that needs no NET_RAW.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends iptables \
    && rm -rf /var/lib/apt/lists/* /usr/local/lib/node_modules /opt/yarn*
COPY --from=build /build/dist/sidecar /opt/weft
ENV PATH=/opt/weft/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    NODE_ENV=production
# netfilter is root's business; every capability but NET_ADMIN is dropped by the Pod that injection makes.
USER 0:0
ENTRYPOINT ["/opt/weft/bin/weft"]
CMD ["capture", "print"]
