# Two images: `app` (worker, board) and `opencode` (the server whose agents run commands). Neither runs as root, and
# both know the sandboxes' folder under one path, owned by the same user.
FROM node:22-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
COPY workers/package.json workers/
COPY dev/reference/package.json dev/reference/
RUN npm ci
COPY tsconfig.json tsconfig.build.json ./
COPY src src
COPY workers workers
COPY dev dev
RUN npm run build && npm prune --omit=dev

FROM node:22-bookworm-slim AS app
ENV NODE_ENV=production OPENCODE_TURNS_HEALTH_PORT=3101
RUN mkdir /sandboxes && chown node:node /sandboxes
WORKDIR /app
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules node_modules
COPY --from=build /app/dist dist
USER node
# The worker: the board has its own in docker-compose.yml.
CMD ["node", "--max-old-space-size=512", "--import", "./dist/workers/instrument.js", "dist/workers/turns.js"]
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.OPENCODE_TURNS_HEALTH_PORT}/healthz`).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]

FROM node:22-bookworm-slim AS opencode
# git and ripgrep: the server's tools need them.
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates curl git ripgrep \
  && rm -rf /var/lib/apt/lists/* \
  && npm install -g opencode-ai@1.18.33 \
  && mkdir /sandboxes && chown node:node /sandboxes \
  && install -d -o node -g node /home/node/.local/share/opencode
USER node
WORKDIR /sandboxes
CMD ["opencode", "serve", "--hostname", "0.0.0.0", "--port", "4096"]
