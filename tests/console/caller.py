"""One call by the OpenAI SDK, as an application makes it; prints what came of it as JSON."""

import json
import sys

import openai

url, token, model, text = sys.argv[1:5]
client = openai.OpenAI(base_url=f"{url}/v1", api_key=token, max_retries=0, timeout=120)
try:
    messages = [{"role": "user", "content": text}]
    if "--stream" in sys.argv:
        stream = client.chat.completions.create(model=model, messages=messages, stream=True)
        said = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    else:
        said = client.chat.completions.create(model=model, messages=messages).choices[0].message.content
    print(json.dumps({"said": said}))
except openai.APIError as error:
    print(json.dumps({"status": getattr(error, "status_code", None), "message": error.message}))
