"""What AWS does with a SigV4 signature, written from its documentation ("Create a signed AWS API request"): the canonical
request is made of what arrived, and signed anew. Standard library only; its test vectors were made by botocore.
"""

import calendar
import hashlib
import hmac
import re
import time
import urllib.parse


def canonical_query(query):
    pairs = [(urllib.parse.quote(urllib.parse.unquote(key), safe="-_.~"), urllib.parse.quote(urllib.parse.unquote(value), safe="-_.~"))
             for key, _, value in (part.partition("=") for part in query.split("&") if part)]
    return "&".join(f"{key}={value}" for key, value in sorted(pairs))


def signature(method, target, headers, body, signed_headers, secret, scope):
    """headers: names in lower case. scope: "20261127/eu-west-1/execute-api/aws4_request". -> hex digits"""
    path, _, query = target.partition("?")
    canonical = "\n".join([method, urllib.parse.quote(path, safe="/-_.~"), canonical_query(query),
                           *(f"{name}:{' '.join(headers[name].split())}" for name in signed_headers), "",
                           ";".join(signed_headers), hashlib.sha256(body).hexdigest()])
    text = "\n".join(["AWS4-HMAC-SHA256", headers["x-amz-date"], scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def wrong_with(request, key_id, secret, region, service, session_token=""):
    """-> "" when AWS would let the request (proxy.Request) through, else why not, in AWS's words."""
    given = re.fullmatch(r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\S+?), ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})",
                         request.headers.get("authorization", ""))
    if not given:
        return "Missing Authentication Token"
    who, scope, names, claimed = given.groups()
    if who != key_id:
        return "The security token included in the request is invalid."
    when = request.headers.get("x-amz-date", "")
    if not re.fullmatch(r"\d{8}T\d{6}Z", when) or abs(calendar.timegm(time.strptime(when, "%Y%m%dT%H%M%SZ")) - time.time()) > 300:
        return f"Signature expired: {when}"
    if scope != f"{when[:8]}/{region}/{service}/aws4_request":
        return f"Credential should be scoped to a valid region and service, not {scope}"
    names = names.split(";")
    must = ["host", *(name for name in request.headers if name.startswith("x-amz-"))]
    if names != sorted(names) or not set(must) <= set(names) or not set(names) <= set(request.headers):
        return f"headers that must be signed: {sorted(must)}; signed: {names}"
    if session_token and request.headers.get("x-amz-security-token") != session_token:
        return "The security token included in the request is expired"
    if signature(request.method, request.path, request.headers, request.body, names, secret, scope) != claimed:
        return ("The request signature we calculated does not match the signature you provided. Check your AWS Secret Access "
                "Key and signing method.")
    return ""
