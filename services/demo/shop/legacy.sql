-- The legacy shop: twelve years of growth, no two columns named by the same person.
CREATE TABLE customers (
    id           bigint PRIMARY KEY,
    email        text,
    full_name    text NOT NULL,
    phone        text,
    country      char(2) NOT NULL,
    birth_date   date,
    newsletter   boolean NOT NULL DEFAULT false,
    status       text NOT NULL,              -- active, prospect (no orders yet: these do not move)
    created_at   timestamptz NOT NULL,
    changed_at   timestamp NOT NULL DEFAULT now(),
    legacy_flags integer NOT NULL DEFAULT 0,
    fax          text
);

CREATE TABLE addresses (
    id          bigint PRIMARY KEY,
    customer_id bigint NOT NULL REFERENCES customers,
    street      text NOT NULL,
    zip         text,
    city        text NOT NULL,
    country     char(2) NOT NULL,
    active      boolean NOT NULL DEFAULT true
);
CREATE INDEX ON addresses (customer_id);

CREATE TABLE products (
    sku        varchar(20) PRIMARY KEY,
    title      text NOT NULL,
    price      numeric(10,2) NOT NULL,
    weight_g   integer,
    attributes jsonb,
    thumbnail  bytea
);

CREATE TABLE orders (
    id          bigint PRIMARY KEY,
    customer_id bigint NOT NULL REFERENCES customers,
    status      text NOT NULL,
    ordered_at  timestamptz NOT NULL,
    total       numeric(12,2) NOT NULL,
    currency    char(3) NOT NULL,
    remark      text
);
CREATE INDEX ON orders (customer_id);

CREATE TABLE order_lines (
    order_id   bigint NOT NULL REFERENCES orders,
    line_no    integer NOT NULL,
    sku        varchar(20) NOT NULL REFERENCES products,
    quantity   integer NOT NULL,
    unit_price numeric(10,2) NOT NULL,
    PRIMARY KEY (order_id, line_no)
);

CREATE TABLE notes (
    id          uuid PRIMARY KEY,
    customer_id bigint NOT NULL REFERENCES customers,
    author      text NOT NULL,
    body        text NOT NULL,               -- often long enough to be stored out of line
    tags        text[] NOT NULL DEFAULT '{}',
    internal    boolean NOT NULL DEFAULT false,
    created_at  timestamptz NOT NULL
);
CREATE INDEX ON notes (customer_id);
