"""A small catalogue to begin with, filled in over REST like anybody else would."""

from typing import Any

from ops.client import Client

CURRENCY = "EUR"
_PICTURES = "https://images.example.com/goods"
_GOODS = (  # name, brief, category id, price and market price in minor units, picture, pieces in stock
    ("Olive wood chopping board", "40 x 25 cm, oiled by hand", "1", 3490, 4590, "chopping-board", 120),
    ("Cast iron casserole", "4.5 l, enamelled, for every stove", "1", 8900, 12900, "casserole", 40),
    ("Linen tea towels, set of 3", "Washed linen, 50 x 70 cm", "1", 2200, 2900, "tea-towels", 200),
    ("Pour-over coffee maker", "Glass, with a filter of steel", "2", 2950, 3900, "coffee-maker", 75),
    ("Ethiopia Sidamo, 500 g", "Whole beans, light roast", "2", 1390, 1590, "sidamo", 500),
    ("Merino scarf", "180 x 30 cm, knitted in one piece", "3", 4900, 6900, "scarf", 60),
    ("Desk lamp", "LED, dimmable, arm of ash wood", "4", 7900, 9900, "lamp", 25),
    ("Signed print, no. 1 to 10", "Ten pieces and no more", "4", 15000, 15000, "print", 10),
)


def fill(client: Client) -> list[dict[str, Any]]:
    """Create the goods and their stock if there are no goods at all; return what is there. `client` must be an admin.

    Raise `ops.client.Unreachable` and `ops.client.Refused`.
    """
    present: list[dict[str, Any]] = client.get("goods", "/goods", limit=100)["items"]
    return present or [_create(client, *goods) for goods in _GOODS]


def _create(
    client: Client, name: str, brief: str, category: str, price: int, market_price: int, picture: str, pieces: int
) -> dict[str, Any]:
    goods: dict[str, Any] = client.post(
        "goods",
        "/goods",
        {
            "name": name,
            "brief": brief,
            "category_id": category,
            "unit_price": price,
            "market_price": market_price,
            "currency": CURRENCY,
            "images": [f"{_PICTURES}/{picture}.jpg"],
        },
    )
    client.put("stock", f"/stock/{goods['goods_id']}", {"total": pieces})
    return goods
