"""Chat through the gateway with the OpenAI SDK: only the base URL and the key differ from talking to OpenAI.

    pip install openai
    export OPENAI_BASE_URL=http://127.0.0.1:8080/v1
    export OPENAI_API_KEY=$(sallyport token --user alice --group ml-apps)
    python openai_chat.py
"""

import os

import openai

client = openai.OpenAI()  # reads OPENAI_BASE_URL and OPENAI_API_KEY
model = os.environ.get("MODEL", "mock-model")

stream = client.chat.completions.create(
    model=model,
    messages=[{"role": "user", "content": "What is the number on file?"}],
    max_tokens=100,
    stream=True,
)
for chunk in stream:
    for choice in chunk.choices:
        print(choice.delta.content or "", end="", flush=True)
print()
