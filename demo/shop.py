"""The estate of the demo: an online shop over two clusters. Only a declaration; the mechanism is elsewhere."""

from __future__ import annotations

from demo.declarations import (
    Cached,
    CacheSpec,
    Call,
    CallOutside,
    Compute,
    Consumer,
    DatabaseSpec,
    EstateSpec,
    ExternalSpec,
    Keyspace,
    NodeSpec,
    Operation,
    Publish,
    Query,
    ServiceSpec,
    Statement,
    Together,
    TopicSpec,
    Visit,
)

WEST, CENTRAL = "eu-west", "eu-central"

PRODUCTS = Keyspace("product", keys=2500, skew=0.8, seconds_to_live=300.0)
PRICES = Keyspace("price", keys=2500, skew=0.8, seconds_to_live=240.0)

SELECT_PRODUCT = Statement("SELECT products", "SELECT id, title, body, images FROM products WHERE id = $1", 16.0, 4.0)
SELECT_CATEGORY = Statement(
    "SELECT products categories", "SELECT p.id, p.title FROM products p JOIN categories c USING (category_id) WHERE c.slug = $1", 7.0, 2.0
)
SELECT_PRICE = Statement("SELECT prices", "SELECT amount, currency FROM prices WHERE product_id = $1 AND valid_until > now()", 8.0, 2.0)
SELECT_ORDERS = Statement("SELECT orders", "SELECT id, state, total FROM orders WHERE customer_id = $1 ORDER BY created_at DESC LIMIT 20", 7.0, 2.0)
SELECT_CUSTOMER = Statement("SELECT customers", "SELECT id, email, address FROM customers WHERE id = $1", 3.0)
SELECT_STOCK = Statement("SELECT stock", "SELECT available FROM stock WHERE product_id = $1", 2.5)
UPDATE_STOCK = Statement("UPDATE stock", "UPDATE stock SET available = available - $2 WHERE product_id = $1", 3.0, 2.0, hot_rows=6)
INSERT_ORDER = Statement("INSERT orders", "INSERT INTO orders (id, customer_id, total) VALUES ($1, $2, $3)", 4.0, 3.0)
UPDATE_ORDER = Statement("UPDATE orders", "UPDATE orders SET state = $2 WHERE id = $1", 4.0, 3.0)

STOREFRONT = ServiceSpec(
    "storefront",
    WEST,
    "5.12.0",
    (
        Operation(
            "GET /",
            (
                Compute(9),
                Together((Call("catalogue", "GET /categories/{slug}", retries=1), Call("recommendation", "GET /recommendations", 0.8, optional=True))),
            ),
            "Rendered home page in {ms} ms",
        ),
        Operation(
            "GET /products/{id}",
            (
                Compute(8),
                Call("catalogue", "GET /products/{id}", retries=1),
                Call("recommendation", "GET /recommendations", 0.8, share=0.4, optional=True),
                Compute(4),
            ),
            "Rendered product {id} in {ms} ms",
        ),
        Operation("GET /search", (Compute(7), Call("search", "GET /search", retries=1), Compute(3)), "Rendered search results in {ms} ms"),
        Operation("POST /cart/items", (Compute(6), Call("cart", "POST /carts/{id}/items")), "Added item {id} to cart in {ms} ms"),
        Operation(
            "POST /checkout",
            (Compute(8), Call("checkout", "POST /checkout", timeout=8.0)),
            "Checkout finished in {ms} ms",
        ),
        Operation("GET /account/orders", (Compute(7), Call("account", "GET /customers/{id}/orders", retries=1)), "Rendered orders of customer {id} in {ms} ms"),
    ),
    cpu_limit=0.5,
    workers=32,
    memory_limit=640.0,
    memory_base=260.0,
    exception="TypeError",
)
CATALOGUE = ServiceSpec(
    "catalogue",
    WEST,
    "3.4.1",
    (
        Operation(
            "GET /categories/{slug}",
            (
                Compute(4),
                Query(SELECT_CATEGORY),
                Cached("product-cache", PRODUCTS, SELECT_PRODUCT, reads=2),
                Call("pricing", "shop.Pricing/QuoteMany", 0.8, 1),
                Compute(4),
            ),
            "Listed category with {n} products in {ms} ms",
        ),
        Operation(
            "GET /products/{id}",
            (Compute(4), Cached("product-cache", PRODUCTS, SELECT_PRODUCT), Call("pricing", "shop.Pricing/Quote", 0.8, 1), Compute(2)),
            "Loaded product {id} in {ms} ms",
        ),
    ),
    cpu_limit=0.5,
    database="catalogue-db",
    database_address="catalogue-db.shop.svc.cluster.local",
    pool_size=10,
    holds_connection=True,
)
SEARCH = ServiceSpec(
    "search",
    WEST,
    "2.9.3",
    (
        Operation(
            "GET /search",
            (Compute(26), Call("catalogue", "GET /categories/{slug}", 1.5)),
            "Query matched {n} documents in {ms} ms",
        ),
    ),
    cpu_limit=0.6,
    memory_limit=768.0,
    memory_base=400.0,
    exception="org.apache.lucene.index.CorruptIndexException",
)
RECOMMENDATION = ServiceSpec(
    "recommendation",
    WEST,
    "1.17.0",
    (Operation("GET /recommendations", (Compute(14), Cached("product-cache", PRODUCTS, SELECT_PRODUCT)), "Ranked {n} candidates in {ms} ms"),),
    cpu_limit=0.5,
    database="catalogue-db",
    database_address="catalogue-db.shop.svc.cluster.local",
    pool_size=6,
    exception="ValueError",
)
PRICING = ServiceSpec(
    "pricing",
    WEST,
    "4.0.2",
    (
        Operation("shop.Pricing/Quote", (Compute(4), Cached("product-cache", PRICES, SELECT_PRICE)), "Quoted product {id} in {ms} ms"),
        Operation("shop.Pricing/QuoteMany", (Compute(6), Cached("product-cache", PRICES, SELECT_PRICE, reads=2)), "Quoted {n} products in {ms} ms"),
    ),
    cpu_limit=0.4,
    database="catalogue-db",
    database_address="catalogue-db.shop.svc.cluster.local",
    pool_size=6,
    exception="*errors.errorString",
)
CART = ServiceSpec(
    "cart",
    WEST,
    "2.2.8",
    (
        Operation(
            "POST /carts/{id}/items",
            (Compute(5), Call("inventory", "shop.Inventory/Check", 1.5, 1), Call("pricing", "shop.Pricing/Quote", 0.8, 1)),
            "Added product {id} to cart, {n} items",
        ),
        Operation("GET /carts/{id}", (Compute(4), Call("pricing", "shop.Pricing/QuoteMany", 0.8, 1)), "Loaded cart {id} with {n} items"),
    ),
    cpu_limit=0.4,
    exception="System.InvalidOperationException",
)
ACCOUNT = ServiceSpec(
    "account",
    CENTRAL,
    "1.8.5",
    (
        Operation(
            "GET /customers/{id}/orders",
            (Compute(8), Query(SELECT_CUSTOMER), Query(SELECT_ORDERS), Compute(5)),
            "Loaded {n} orders of customer {id}",
        ),
        Operation("GET /customers/{id}", (Compute(5), Query(SELECT_CUSTOMER)), "Loaded customer {id}"),
    ),
    cpu_limit=0.4,
    database="orders-db",
    database_address="orders-db",
    pool_size=8,
    holds_connection=True,
    old_names=True,
    exception="sqlalchemy.exc.InvalidRequestError",
)
CHECKOUT = ServiceSpec(
    "checkout",
    CENTRAL,
    "6.1.0",
    (
        Operation(
            "POST /checkout",
            (
                Compute(7),
                Together((Call("cart", "GET /carts/{id}", 2.0, 1), Call("account", "GET /customers/{id}", 2.0, 1))),
                Query(INSERT_ORDER),
                Call("inventory", "shop.Inventory/Reserve", 4.0),
                Call("shipping", "GET /rates", 1.5, 1, optional=True),
                Call("payment", "POST /payments", 6.0),
                Query(UPDATE_ORDER),
                Publish("order-events"),
                Compute(4),
            ),
            "Placed order {id} in {ms} ms",
        ),
    ),
    cpu_limit=0.4,
    database="orders-db",
    database_address="orders-db.shop.svc.cluster.local",
    pool_size=10,
    pool_patience=3.0,
    holds_connection=True,
)
PAYMENT = ServiceSpec(
    "payment",
    CENTRAL,
    "3.3.3",
    (
        Operation(
            "POST /payments",
            (Compute(9), CallOutside("api.cardgate.example", "POST", "/v1/charges", timeout=2.0, retries=1), Compute(3)),
            "Captured payment {id} in {ms} ms",
        ),
    ),
    cpu_limit=0.4,
)
INVENTORY = ServiceSpec(
    "inventory",
    CENTRAL,
    "2.0.11",
    (
        Operation("shop.Inventory/Check", (Compute(4), Query(SELECT_STOCK)), "Checked stock of product {id}"),
        Operation("shop.Inventory/Reserve", (Compute(5), Query(SELECT_STOCK), Query(UPDATE_STOCK)), "Reserved {n} items of product {id}"),
    ),
    cpu_limit=0.4,
    database="orders-db",
    database_address="orders-db.shop.svc",
    pool_size=12,
    exception="*pgconn.PgError",
)
SHIPPING = ServiceSpec(
    "shipping",
    CENTRAL,
    "1.5.0",
    (
        Operation("GET /rates", (Compute(10),), "Computed {n} rates in {ms} ms"),
        Operation("POST /shipments", (Compute(14),), "Booked shipment {id}"),
    ),
    cpu_limit=0.4,
    exception="ActiveModel::ValidationError",
)
FULFILMENT = ServiceSpec(
    "fulfilment",
    CENTRAL,
    "2.6.4",
    consumer=Consumer(
        "order-events",
        "fulfilment",
        (Compute(22), Query(UPDATE_ORDER), Call("shipping", "POST /shipments", 2.0, 1), Compute(10)),
        "Order {id} handed to the warehouse",
    ),
    cpu_limit=0.6,
    database="orders-db",
    database_address="orders-db.shop.svc.cluster.local",
    pool_size=6,
)
NOTIFICATION = ServiceSpec(
    "notification",
    CENTRAL,
    "1.1.9",
    consumer=Consumer("order-events", "notification", (Compute(30),), "Sent confirmation of order {id}", own_trace=True),
    cpu_limit=0.6,
    exception="smtplib.SMTPException",
)

SHOP = EstateSpec(
    namespace="shop",
    entry="storefront",
    rate=26.0,
    visits=(
        Visit("GET /", 0.19),
        Visit("GET /products/{id}", 0.36),
        Visit("GET /search", 0.15),
        Visit("POST /cart/items", 0.11),
        Visit("POST /checkout", 0.12),
        Visit("GET /account/orders", 0.07),
    ),
    nodes=(
        *(NodeSpec(f"west-app-{i}", WEST) for i in (1, 2, 3)),
        NodeSpec("west-data-1", WEST, cores=8, memory=32768, data=True),
        *(NodeSpec(f"central-app-{i}", CENTRAL) for i in (1, 2, 3)),
        NodeSpec("central-data-1", CENTRAL, cores=8, memory=32768, data=True),
    ),
    services=(STOREFRONT, CATALOGUE, SEARCH, RECOMMENDATION, PRICING, CART, ACCOUNT, CHECKOUT, PAYMENT, INVENTORY, SHIPPING, FULFILMENT, NOTIFICATION),
    databases=(DatabaseSpec("catalogue-db", WEST, "catalogue"), DatabaseSpec("orders-db", CENTRAL, "orders")),
    caches=(CacheSpec("product-cache", WEST),),
    topics=(TopicSpec("order-events", "events-kafka", CENTRAL),),
    externals=(ExternalSpec("api.cardgate.example", 300.0, 0.002),),
)
