"""The pages: routes, forms, and what their templates are given.

A page is declared on the `Site`, with who may see it; `console.app` hands it what it reads:

    @site.page("/orders", scopes=OWNER, query=("cursor",), menu="Orders")
    def orders(viewer: Viewer, query: Mapping[str, str]) -> Shown:
        return Shown("orders.html", {"page": orders.page(viewer.token, query.get("cursor"))})
"""
