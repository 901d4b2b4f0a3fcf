// Runs inside nginx (njs 0.7): whose key a request carries, which engine it goes to, and the answers that nginx cannot compose by itself.
// What changes while nginx runs is in small files, in memory, that each request reads: no reload closes the connections of clients, and a key
// that was taken out of the file opens nothing from that moment on.

const crypto = require('crypto');
const fs = require('fs');

const AWAY = {state: 'loading', generation: 0, models: [], retry_after: 30, silent: false};

// The name of the key in `Authorization: Bearer KEY`; empty where there is none that is known.
// What is looked up is an HMAC of the key's hash with a salt that this process's start chose, so that the time of a look-up tells nothing
// about the key or its hash, however many guesses are made.
function keyName(r) {
    const given = /^bearer +([!-~]+) *$/i.exec(r.headersIn['Authorization'] || '');
    if (!given) {
        return '';
    }
    const hash = crypto.createHash('sha256').update(given[1]).digest('hex');
    return read('keys/' + crypto.createHmac('sha256', fixed.salt).update(hash).digest('hex')) || '';
}

function read(name) {
    try {
        return fs.readFileSync(fixed.folder + '/' + name, 'utf8');
    } catch (e) {
        return null;
    }
}

function told() {
    return JSON.parse(read('told.json')) || AWAY;
}

// The upstream block of the engine that answers; empty while none does.
function engine(r) {
    return read('engine') || '';
}

function authorization(r) {
    return read('authorization') || '';
}

function retryAfter(r) {
    return String(told().retry_after);
}

const REASONS = {
    loading: ['model_loading', 'the model is being loaded: ask again in a while'],
    failed: ['model_failed', 'the model could not be loaded: the log of serve has the reason'],
    ready: ['engine_away', 'the engine does not answer right now: ask again in a while'],
};

// The body of a 503.
function away(r) {
    const reason = REASONS[told().state];
    return JSON.stringify({error: {message: reason[1], type: 'server_error', param: null, code: reason[0]}});
}

function send(r, status, body) {
    r.headersOut['Content-Type'] = 'application/json';
    r.return(status, JSON.stringify(body));
}

// GET /v1/models/{id}, which vLLM itself does not have: looked up in its list.
async function model(r) {
    const wanted = r.uri.slice('/v1/models/'.length);    // nginx has decoded it
    const listed = await r.subrequest('/inner/models', {method: 'GET'});
    if (listed.status !== 200) {
        r.return(503);    // error_page makes the answer
        return;
    }
    const found = JSON.parse(listed.responseText).data.filter((one) => one.id === wanted)[0];
    if (found) {
        send(r, 200, found);
    } else {
        // As it was asked for: what nginx decoded may be no UTF-8, and JSON of it no JSON.
        const asked = r.variables.request_uri.split('?')[0].replace('/v1/models/', '').replace(/[^!-~]/g, '?');
        send(r, 404, {error: {message: `The model '${asked}' does not exist: GET /v1/models lists those that do.`,
                              type: 'invalid_request_error', param: 'model', code: 'model_not_found'}});
    }
}

// GET /health/deep: what the server says of itself, that it says so still, and whether its engine answers right now.
async function deep(r) {
    const now = told();
    let status = now.state;
    if (status === 'ready' && now.silent) {
        status = 'server silent';
    } else if (status === 'ready' && (!engine(r) || (await r.subrequest('/inner/deep', {method: 'GET'})).status !== 200)) {
        status = 'engine away';
    }
    if (status !== 'ready') {
        r.headersOut['Retry-After'] = String(now.retry_after);
    }
    send(r, status === 'ready' ? 200 : 503, {status: status, generation: now.generation, models: now.models});
}

export default {keyName, engine, authorization, retryAfter, away, model, deep};
