// Shows that ioredis works with a store as it does with Redis.
//
// ioredis.js VERSION PORT PROTECTED_PORT PASSWORD_FILE: the version is 5, which speaks RESP2, or 6, which speaks RESP3; the
// second port is that of a store which asks for the password. Each entry of `claims` is a sentence and how it is shown;
// before each the store is empty.
"use strict";

const assert = require("node:assert");
const fs = require("node:fs");
const { createRequire } = require("node:module");
const path = require("node:path");
const { once } = require("node:events");

const [version, port, protectedPort, passwordFile] = process.argv.slice(2);
const installed = createRequire(path.join(process.env.LIBRARIES, "node", "package.json"));
const { Redis } = installed(`ioredis-${version}`);
const password = fs.readFileSync(passwordFile, "ascii").split("\n")[0];

const equal = assert.deepStrictEqual;
const ALL_BYTES = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));

// A client with the defaults of ioredis, but that a command which hangs fails.
function connect(options = {}) {
    const client = new Redis({ host: "127.0.0.1", port: Number(port), commandTimeout: 30_000, ...options });
    client.problems = [];
    client.on("error", (error) => client.problems.push(error));
    return client;
}

// What `use` does with a client that is disconnected after it.
async function using(options, use) {
    const client = connect(options);
    try {
        await use(client);
    } finally {
        client.disconnect();
    }
}

function fails(promise, text) {
    return assert.rejects(promise, (error) => {
        assert.ok(error.message.includes(text), `got ${JSON.stringify(error.message)}, wanted ${JSON.stringify(text)}`);
        equal(error.name, "ReplyError");
        return true;
    });
}

async function collect(stream) {
    const keys = [];
    for await (const some of stream) keys.push(...some);
    return keys;
}

const range = (count) => Array.from({ length: count }, (_, i) => i);

const claims = {
    "it connects with its ready check, and speaks the protocol that it should": async () => {
        await using({ connectionName: "it-is-me" }, async (client) => {
            const states = [];
            for (const state of ["connect", "ready"]) client.on(state, () => states.push(state));
            await once(client, "ready");
            equal([states, client.status, client.problems], [["connect", "ready"], "ready", []]);
            equal(client.serverInfo?.loading ?? "0", "0");
            const info = await client.client("INFO");
            equal(Number(/ resp=(\d)/.exec(info)[1]), Number(version) === 6 ? 3 : 2);
            equal(/ lib-name=(\w+)/.exec(info)[1], "ioredis");
            equal(await client.client("GETNAME"), "it-is-me");
        });
    },

    "set, get and their relatives are as documented": async (redis) => {
        equal(await redis.get("k"), null);
        equal(await redis.set("k", "one"), "OK");
        equal(await redis.set("k", "two", "EX", 100, "NX"), null);
        equal(await redis.set("k", "two", "PX", 100_000, "GET"), "one");
        equal([await redis.get("k"), await redis.ttl("k")], ["two", 100]);
        equal(await redis.mset({ a: 1, b: "zwei ✓" }), "OK");
        equal(await redis.mset(new Map([["c", 3]])), "OK");
        equal(await redis.mget("a", "b", "c", "none"), ["1", "zwei ✓", "3", null]);
        equal([await redis.incr("a"), await redis.incrby("a", 40), await redis.decr("a")], [2, 42, 41]);
        equal(Number(await redis.incrbyfloat("a", 0.5)), 41.5);
        equal([await redis.append("k", "!"), await redis.strlen("k"), await redis.getrange("k", 1, 2)], [4, 4, "wo"]);
        equal([await redis.exists("k", "none"), await redis.del("k", "none"), await redis.dbsize()], [1, 1, 3]);
        equal([await redis.type("a"), await redis.rename("a", "z"), await redis.getdel("z")], ["string", "OK", "41.5"]);
        equal((await redis.keys("*")).sort(), ["b", "c"]);
    },

    "keys and values of all 256 byte values come back as they were": async (redis) => {
        const big = Buffer.alloc(1 << 20, ALL_BYTES);
        equal(await redis.set(ALL_BYTES, big), "OK");
        assert.ok((await redis.getBuffer(ALL_BYTES)).equals(big), "getBuffer");
        await Promise.all(range(256).map((byte) => redis.set(Buffer.of(byte), Buffer.of(255 - byte))));
        const keys = range(256).map((byte) => Buffer.of(byte));
        equal(await redis.mgetBuffer(keys), range(256).map((byte) => Buffer.of(255 - byte)));
        const found = await redis.keysBuffer("?");
        equal(found.sort(Buffer.compare), keys);
    },

    "a pipeline answers 10,000 commands in their order, and an error in its place": async (redis) => {
        const pipeline = redis.pipeline();
        for (const i of range(5000)) pipeline.set(`key:${i}`, i).get(`key:${i}`);
        equal(await pipeline.exec(), range(5000).flatMap((i) => [[null, "OK"], [null, String(i)]]));
        const [set, incr, get] = await redis.pipeline().set("k", "text").incr("k").get("k").exec();
        equal([set, incr[0].message, get], [[null, "OK"], "ERR value is not an integer or out of range", [null, "text"]]);
    },

    "multi executes all, also after an error of one of its commands": async (redis) => {
        const [set, incr, get] = await redis.multi().set("k", "text").incr("k").get("k").exec();
        equal([set, incr[0].message, get], [[null, "OK"], "ERR value is not an integer or out of range", [null, "text"]]);
        equal(await redis.multi({ pipeline: false }), "OK");
        equal(await redis.set("k", 1), "QUEUED");
        equal(await redis.incr("k"), "QUEUED");
        equal(await redis.exec(), [[null, "OK"], [null, 2]]);
    },

    "multi with a command that nobody knows executes nothing, as does discard": async (redis) => {
        await fails(redis.multi().set("k", 1).call("NONSENSE").exec(), "EXECABORT Transaction discarded");
        equal(await redis.get("k"), null);
        await redis.multi({ pipeline: false });
        await redis.set("k", 1);
        equal([await redis.discard(), await redis.get("k")], ["OK", null]);
    },

    "a watched key that somebody else changes makes exec answer null, any other does not": async (redis) => {
        await using({}, async (other) => {
            await redis.watch("k");
            await other.set("k", "theirs");
            equal([await redis.multi().set("k", "mine").exec(), await redis.get("k")], [null, "theirs"]);
            await redis.watch("k");
            await other.set("another", "theirs");
            equal([await redis.multi().set("k", "mine").exec(), await redis.get("k")], [[[null, "OK"]], "mine"]);
        });
    },

    "scanStream sees every one of 5,000 keys, and those alone that match": async (redis) => {
        const keys = range(5000).map((i) => `key:${i}`).sort();
        await redis.mset(keys.flatMap((key) => [key, 1]));
        equal((await collect(redis.scanStream())).sort(), keys);
        equal((await collect(redis.scanStream({ count: 1000, type: "string" }))).sort(), keys);
        const matching = range(10).map((i) => `key:12${i}`);
        equal((await collect(redis.scanStream({ match: "key:12?", count: 100 }))).sort(), matching);
        const buffers = await collect(redis.scanBufferStream({ match: "key:4999" }));
        equal(buffers, [Buffer.from("key:4999")]);
    },

    "auto-pipelining sends what is asked for at once together, and answers each": async () => {
        await using({ enableAutoPipelining: true }, async (client) => {
            await once(client, "ready");
            let writes = 0;
            const write = client.stream.write;
            client.stream.write = function (...written) {
                writes += 1;
                return write.apply(this, written);
            };
            await Promise.all(range(2000).map((i) => client.set(`key:${i}`, i)));
            equal(await Promise.all(range(2000).map((i) => client.get(`key:${i}`))), range(2000).map(String));
            const counts = await Promise.all(range(500).map(() => client.incr("n")));
            equal(counts, range(500).map((i) => i + 1));
            const mixed = await Promise.allSettled([client.get("n"), client.incrby("n", "x"), client.get("n")]);
            equal(mixed.map(({ status }) => status), ["fulfilled", "rejected", "fulfilled"]);
            assert.ok(writes > 0 && writes < 200, `${writes} writes for 4,503 commands`);
        });
    },

    "keys expire when they should": async (redis) => {
        await redis.set("soon", 1, "PX", 150);
        const since = Date.now();
        while ((await redis.get("soon")) !== null) assert.ok(Date.now() - since < 10_000, "it is still there");
        assert.ok(Date.now() - since >= 140, `gone after ${Date.now() - since} ms`);
        await redis.set("k", 1);
        equal([await redis.expire("k", 50), await redis.ttl("k"), await redis.persist("k")], [1, 50, 1]);
        equal([await redis.ttl("k"), await redis.ttl("none")], [-1, -2]);
    },

    "errors have Redis's words": async (redis) => {
        await redis.set("text", "abc");
        await fails(redis.incr("text"), "ERR value is not an integer or out of range");
        await fails(redis.call("NONSENSE", "a"), "ERR unknown command 'NONSENSE', with args beginning with: 'a'");
        await fails(redis.call("GET"), "ERR wrong number of arguments for 'get' command");
        await fails(redis.set("k", "v", "NX", "XX"), "ERR syntax error");
        await fails(redis.exec(), "ERR EXEC without MULTI");
    },

    "a client that is killed connects anew, and goes on": async (redis) => {
        await using({ connectionName: "to-be-killed" }, async (client) => {
            const id = await client.client("ID");
            const again = once(client, "connect");
            equal(await redis.client("KILL", "ID", id), 1);
            await again;
            equal(await client.set("k", "after"), "OK");
            equal(await client.client("GETNAME"), "to-be-killed");
            assert.notStrictEqual(await client.client("ID"), id);
        });
    },

    "a key prefix, a hundred clients at once, and quit work": async (redis) => {
        await using({ keyPrefix: "app:" }, async (client) => {
            equal([await client.set("k", 1), await redis.get("app:k")], ["OK", "1"]);
        });
        const clients = range(100).map(() => connect());
        await Promise.all(clients.flatMap((client) => range(20).map(() => client.incr("n"))));
        equal(await redis.get("n"), "2000");
        const ends = clients.map((client) => once(client, "end"));
        equal(await Promise.all(clients.map((client) => client.quit())), clients.map(() => "OK"));
        await Promise.all(ends);
        equal(clients.flatMap((client) => client.problems), []);
    },

    "nothing goes without the password, and everything with it": async () => {
        const there = { port: Number(protectedPort), retryStrategy: null, maxRetriesPerRequest: 0 };
        for (const given of [undefined, "wrong", `${password} `]) {
            await using({ ...there, password: given }, async (client) => {
                const refusal = await client.get("k").then(() => assert.fail("it goes"), (error) => error);
                const words = [refusal, ...client.problems].map(({ message }) => message).join("\n");
                assert.match(words, given ? /WRONGPASS invalid username-password pair/ : /NOAUTH /);
            });
        }
        for (const username of [undefined, "default"]) {
            await using({ ...there, username, password }, async (client) => {
                equal([await client.set("k", "v"), await client.get("k"), client.problems], ["OK", "v", []]);
            });
        }
    },
};

async function main() {
    let failures = 0;
    for (const [claim, show] of Object.entries(claims)) {
        const redis = connect();
        const sentence = `ioredis ${version}: ${claim}`;
        let deadline;
        const hung = new Promise((_, reject) => {
            deadline = setTimeout(() => reject(new Error("it took more than 20 s")), 20_000);
        });
        try {
            await redis.flushall();
            await Promise.race([show(redis), hung]);
            equal(redis.problems, []);
            console.log(`ok      ${sentence}`);
        } catch (error) {
            failures += 1;
            const detail = String(error.stack ?? error).split("\n").slice(0, 20).join("\n        ");
            console.log(`FAILED  ${sentence}\n        ${detail}`);
        }
        clearTimeout(deadline);
        redis.disconnect();
    }
    process.exit(failures > 0 ? 1 : 0);
}

main();
