"""Bytes from the network: asked for in pieces, fetched by a child that can do nothing else, judged by whoever asked.

The parent decides whom to ask and when (`fetcher`, `mirrors`); the child has what can be attacked (`worker`,
`transfer`): libcurl, TLS, HTTP. Between them are two pipes (`wire`). docs/network.md explains it.
"""
