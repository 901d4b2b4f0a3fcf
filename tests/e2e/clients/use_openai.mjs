// The npm `openai` client against a gateway. `node use_openai.mjs FEATURE`, with OPENAI_BASE_URL, OPENAI_API_KEY and MODEL.
import assert from 'node:assert/strict';
import OpenAI from 'openai';

const model = process.env.MODEL;
const messages = [{role: 'user', content: 'Say hello.'}];
const client = new OpenAI({maxRetries: 0, timeout: 180_000});

const features = {
    async chat() {
        const answer = await client.chat.completions.create({model, messages, max_tokens: 8, temperature: 0});
        assert.ok(answer.choices[0].message.content);
        assert.ok(answer._request_id);
    },
    async streaming() {
        const pieces = [];
        for await (const chunk of await client.chat.completions.create({model, messages, max_tokens: 12, temperature: 0, stream: true})) {
            pieces.push(chunk.choices[0]?.delta?.content ?? '');
        }
        const whole = await client.chat.completions.create({model, messages, max_tokens: 12, temperature: 0});
        assert.equal(pieces.join(''), whole.choices[0].message.content);
        assert.ok(pieces.filter(Boolean).length > 3);
    },
    async models() {
        const listed = [];
        for await (const one of client.models.list()) listed.push(one.id);
        assert.deepEqual(listed, [model]);
        assert.equal((await client.models.retrieve(model)).id, model);
    },
    async errors() {
        await assert.rejects(client.embeddings.create({model, input: 'a'}), (error) => error instanceof OpenAI.NotFoundError && /embeddings/.test(error.message));
        await assert.rejects(new OpenAI({apiKey: 'wrong', maxRetries: 0}).models.list(), OpenAI.AuthenticationError);
    },
    async abort() {
        const stream = await client.chat.completions.create({model, messages, max_tokens: 300, stream: true, ignore_eos: true});
        for await (const chunk of stream) {
            stream.controller.abort();
            break;
        }
    },
};

await features[process.argv[2]]();
