# The image of sidecars with an Envoy: the sidecar's image, and Envoy's own release; no shell, no package manager, no root.
# Build it from the top of a checkout: docker buildx build -f deploy/images/sidecar-envoy.Dockerfile -t weft/sidecar-envoy:VERSION .
# The base is pinned by version; a release pins it by digest as well (deploy/images/README.md).
ARG NODE_IMAGE=docker.io/library/node:26.10.0-trixie-slim
ARG ENVOY_IMAGE=docker.io/envoyproxy/envoy:distroless-v1.40.0

# The bundle is the same for every architecture but for one native library, so it is built where the builder runs.
FROM --platform=$BUILDPLATFORM ${NODE_IMAGE} AS build
ARG TARGETARCH
WORKDIR /build
COPY package.json pnpm-lock.yaml pnpm-workspace.yaml ./
COPY bin ./bin
COPY src ./src
COPY proto ./proto
RUN node bin/setup.mjs && node bin/build.mjs --image sidecar --arch "$TARGETARCH" --without-maps

FROM ${ENVOY_IMAGE} AS envoy

# The image's whole root: Node, Envoy and what both are linked with, of the architecture that the image is for.
FROM ${NODE_IMAGE} AS root
COPY deploy/images/rootfs.sh /rootfs.sh
COPY --from=envoy /usr/local/bin/envoy /envoy
RUN sh /rootfs.sh /usr/local/bin/node /rootfs /envoy && mkdir -p /cache/compile

FROM scratch
COPY --from=root /rootfs /
COPY --from=build /build/dist/sidecar /opt/weft
COPY --from=root --chown=1337:1337 /cache /var/cache/weft
ENV PATH=/opt/weft/bin:/usr/local/bin \
    NODE_ENV=production \
    NODE_COMPILE_CACHE=/var/cache/weft/compile
USER 1337:1337
# Compiled once here, and read from a read-only root afterwards. Node keeps such a cache for each user.
RUN ["/opt/weft/bin/weft", "sidecar", "--proxy", "envoy", "--help"]
EXPOSE 15001 15006 15020 15021
ENTRYPOINT ["/opt/weft/bin/weft"]
CMD ["--help"]
