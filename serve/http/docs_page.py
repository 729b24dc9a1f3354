"""GET /docs: the OpenAPI document as an HTML page without external resources."""

from __future__ import annotations

import base64
import hashlib
import json
from html import escape
from typing import Any

STYLE = """
:root{color-scheme:light dark;--line:color-mix(in srgb,currentColor 18%,transparent)}
:root{--soft:color-mix(in srgb,currentColor 6%,transparent)}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1.5rem 1rem 4rem}
h1{line-height:1.2;margin:0}h2{margin:2.5rem 0 .5rem;font-size:1.2rem}
code,pre,textarea{font:14px/1.45 ui-monospace,monospace}h2 code{font-size:1rem}.verb{font-weight:600;margin-right:.4rem}
pre,textarea{background:var(--soft);border:1px solid var(--line);border-radius:6px;padding:.75rem;margin:.5rem 0}
pre{overflow:auto;white-space:pre-wrap}
textarea{width:100%;box-sizing:border-box;min-height:14rem;color:inherit}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.4rem .6rem .4rem 0;border-bottom:1px solid var(--line)}
button{font:inherit;padding:.4rem 1rem}label{display:block;margin:.75rem 0 .25rem;font-weight:600}
input{font:inherit;width:100%;box-sizing:border-box;padding:.35rem .5rem}
"""
SCRIPT = """
const form=document.querySelector('form'),answer=document.querySelector('output');
form.addEventListener('submit',async event=>{event.preventDefault();const headers={'content-type':'application/json'},
key=form.elements.key?.value;if(key)headers.authorization='Bearer '+key;answer.textContent='…';
try{const response=await fetch('predict?explain=true',{method:'POST',headers,body:form.elements.body.value});
answer.textContent=response.status+' '+JSON.stringify(await response.json(),null,2)}
catch(error){answer.textContent='No response: '+error.message}});
"""


def _source(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


# Allow only this page's own style and script, and requests to this service.
POLICY = (
    f"default-src 'none'; style-src {_source(STYLE)}; script-src {_source(SCRIPT)}; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def docs_page(document: dict[str, Any]) -> str:
    """Return the documentation page as HTML.

    Parameters
    ----------
    document : dict
        The OpenAPI document; the example of its record is in the form.
    """
    title = escape(document["info"]["title"])
    record = document["components"]["schemas"]["Record"]
    parts = [
        f"<h1>{title}</h1><p>{escape(document['info']['description'])} "
        'Machine-readable: <a href="openapi.json">openapi.json</a>.</p>',
        _try(record["examples"][0], keys="securitySchemes" in document["components"]),
        "<h2>Fields of a record</h2>",
        _fields(record),
        *(
            _endpoint(path, verb, each, document["components"]["responses"])
            for path, verbs in document["paths"].items()
            for verb, each in verbs.items()
        ),
        "<h2>Errors</h2><p>Every error is JSON: <code>error</code> (a code), <code>message</code> (a sentence), "
        "<code>problems</code> (one per invalid field) and <code>request_id</code>, which is also in the logs.</p>",
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>' + title + " · API</title>"
        '<meta name="viewport" content="width=device-width,initial-scale=1"><link rel="icon" href="data:,">'
        f"<style>{STYLE}</style></head><body><main>{''.join(parts)}</main><script>{SCRIPT}</script></body></html>"
    )


def _try(example: dict[str, Any], *, keys: bool) -> str:
    key = (
        '<label for="key">API key</label><input id="key" name="key" type="password" autocomplete="off">' if keys else ""
    )
    text = escape(json.dumps(example, indent=2, ensure_ascii=False))
    return (
        '<h2>Try it</h2><form><label for="body">Record</label>'
        f'<textarea id="body" name="body" spellcheck="false">{text}</textarea>{key}'
        '<p><button>Score</button></p></form><pre><output aria-live="polite">The response appears here.</output></pre>'
    )


def _fields(record: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>{escape(_kind(field))}</td>"
        f"<td>{escape(field['description'])}</td><td><code>{escape(_example(field))}</code></td></tr>"
        for name, field in record["properties"].items()
    )
    head = "<tr><th>Field</th><th>Type</th><th>Description</th><th>Example</th></tr>"
    return f'<div class="wide"><table><thead>{head}</thead><tbody>{rows}</tbody></table></div>'


def _kind(field: dict[str, Any]) -> str:
    kind = field["type"]
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def _example(field: dict[str, Any]) -> str:
    return json.dumps(field["examples"][0], ensure_ascii=False) if field.get("examples") else ""


def _endpoint(path: str, verb: str, operation: dict[str, Any], shared: dict[str, Any]) -> str:
    parameters = "".join(
        f"<li><code>?{escape(one['name'])}=</code> {escape(one['description'])}</li>"
        for one in operation.get("parameters", ())
    )
    kinds = ", ".join(f"<code>{escape(kind)}</code>" for kind in operation.get("requestBody", {}).get("content", {}))
    accepts = f"<p>Accepts {kinds}.</p>" if kinds else ""
    responses = "".join(
        f"<tr><td>{status}</td><td>{escape(_resolve(response, shared)['description'])}</td></tr>"
        for status, response in operation["responses"].items()
    )
    return (
        f'<h2><span class="verb">{verb.upper()}</span><code>{escape(path)}</code></h2>'
        f"<p>{escape(operation['summary'])}.</p>{accepts}{f'<ul>{parameters}</ul>' if parameters else ''}"
        f'<div class="wide"><table><tbody>{responses}</tbody></table></div>'
    )


def _resolve(response: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    """Return a response of an endpoint, which may be a reference to a shared one."""
    resolved: dict[str, Any] = shared[response["$ref"].rpartition("/")[2]] if "$ref" in response else response
    return resolved
