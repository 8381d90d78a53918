// The official SDKs on Node, through the gateway: prints what each put together, as one JSON object.
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";

const { BASE_URL, TOKEN, MODEL, GRAMMAR } = process.env;
const openai = new OpenAI({ baseURL: `${BASE_URL}/v1`, apiKey: TOKEN, maxRetries: 0 });
const anthropic = new Anthropic({ baseURL: BASE_URL, apiKey: TOKEN, maxRetries: 0 });
const messages = [{ role: "user", content: "What is the number on file?" }];
const grammar = GRAMMAR;
const read = {};

const chat = { model: MODEL, messages, max_tokens: 100, grammar };
read["chat"] = (await openai.chat.completions.create(chat)).choices[0].message.content;
read["chat stream"] = "";
for await (const chunk of await openai.chat.completions.create({ ...chat, stream: true })) {
  read["chat stream"] += chunk.choices[0]?.delta.content ?? "";
}

const completion = { model: MODEL, prompt: "hi", max_tokens: 100, grammar };
read["completion"] = (await openai.completions.create(completion)).choices[0].text;
read["completion stream"] = "";
for await (const chunk of await openai.completions.create({ ...completion, stream: true })) {
  read["completion stream"] += chunk.choices[0]?.text ?? "";
}

const response = { model: MODEL, input: "hi", max_output_tokens: 100, grammar };
read["response"] = (await openai.responses.create(response)).output_text;
let pieces = "";
let last;
for await (const event of await openai.responses.create({ ...response, stream: true })) {
  if (event.type === "response.output_text.delta") pieces += event.delta;
  last = event;
}
const repeated = last.response.output[0].content[0].text;
read["response stream"] = pieces === repeated ? pieces : `${pieces} and then ${repeated}`;

const message = { model: MODEL, max_tokens: 100, messages };
read["message"] = (await anthropic.messages.create(message)).content[0].text;
read["message stream"] = (await anthropic.messages.stream(message).finalMessage()).content[0].text;

try {
  await anthropic.messages.create({ ...message, model: "large-1" });
} catch (error) {
  read["denied"] = [error.status, error.error?.error?.type];
}
console.log(JSON.stringify(read));
