// Keeps the page's files, so that it opens without its server. As long as the server answers, its files are taken: a new
// page is seen at once. `page.py` fills in the files with their hashes, so that this script changes when they do.

const FILES = {{files}};
const SCOPE = registration.scope;
const CACHE = `speaker-count ${SCOPE} {{version}}`;

const address = (name) => new URL(name === "index.html" ? "./" : name, SCOPE).href; // some servers redirect index.html

async function keep() {
  const cache = await caches.open(CACHE);
  const files = Object.entries(FILES);
  await cache.addAll(files.map(([name, hash]) => new Request(address(name), { integrity: hash, cache: "no-cache" })));
  await skipWaiting();
}

async function tidy() {
  const old = (await caches.keys()).filter((name) => name.startsWith(`speaker-count ${SCOPE} `) && name !== CACHE);
  await Promise.all(old.map((name) => caches.delete(name)));
  await clients.claim();
}

async function answer(request, name) {
  try {
    return await fetch(request);
  } catch {
    return (await caches.match(address(name), { cacheName: CACHE })) ?? Response.error();
  }
}

addEventListener("install", (event) => event.waitUntil(keep()));
addEventListener("activate", (event) => event.waitUntil(tidy()));
addEventListener("fetch", (event) => {
  const { origin, pathname } = new URL(event.request.url);
  const place = `${origin}${pathname}`;
  if (!place.startsWith(SCOPE)) return;
  const name = place.slice(SCOPE.length) || "index.html";
  if (event.request.method === "GET" && Object.hasOwn(FILES, name)) event.respondWith(answer(event.request, name));
});
