// Runs inside nginx (njs 0.7): whose key a request carries, and the answers that nginx cannot compose by itself.

const crypto = require('crypto');

// The name of the key in `Authorization: Bearer KEY`; empty where there is none that is known.
// What is looked up is an HMAC of the key's hash with a salt that this process's start chose, so that the time of a look-up tells nothing
// about the key or its hash, however many guesses are made.
function keyName(r) {
    const given = /^bearer +([!-~]+) *$/i.exec(r.headersIn['Authorization'] || '');
    if (!given) {
        return '';
    }
    const hash = crypto.createHash('sha256').update(given[1]).digest('hex');
    return keys.names[crypto.createHmac('sha256', keys.salt).update(hash).digest('hex')] || '';
}

function send(r, status, body) {
    r.headersOut['Content-Type'] = 'application/json';
    r.return(status, JSON.stringify(body));
}

// GET /v1/models/{id}, which vLLM itself does not have: looked up in its list.
async function model(r) {
    const wanted = decodeURIComponent(r.uri.slice('/v1/models/'.length));
    const listed = await r.subrequest('/inner/models', {method: 'GET'});
    if (listed.status !== 200) {
        r.return(503);    // error_page makes the answer
        return;
    }
    const found = JSON.parse(listed.responseText).data.filter((one) => one.id === wanted)[0];
    if (found) {
        send(r, 200, found);
    } else {
        send(r, 404, {error: {message: `The model '${wanted}' does not exist: GET /v1/models lists those that do.`,
                              type: 'invalid_request_error', param: 'model', code: 'model_not_found'}});
    }
}

// GET /health/deep: what the server says of itself, and whether its engine answers right now.
async function deep(r) {
    let status = told.state;
    if (status === 'ready' && (!told.found || (await r.subrequest('/inner/health', {method: 'GET'})).status !== 200)) {
        status = 'engine away';
    }
    if (status !== 'ready') {
        r.headersOut['Retry-After'] = String(told.retry_after);
    }
    send(r, status === 'ready' ? 200 : 503, {status: status, generation: told.generation, models: told.models});
}

export default {keyName, model, deep};
