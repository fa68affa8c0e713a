-- The new store: other schemas, other names, other shapes, and constraints that the legacy one never had.
CREATE SCHEMA crm;
CREATE SCHEMA sales;

CREATE TABLE crm.customer (
    customer_id   bigint PRIMARY KEY,
    email         varchar(320) UNIQUE,
    given_name    text,
    family_name   text NOT NULL,
    phone_digits  text,
    country       char(2) NOT NULL,
    born          date,
    newsletter    boolean NOT NULL,
    registered_at timestamptz NOT NULL,
    origin        text NOT NULL
);

CREATE TABLE crm.address (
    address_id  bigint PRIMARY KEY,
    customer_id bigint NOT NULL REFERENCES crm.customer ON DELETE CASCADE,
    line1       text NOT NULL,
    postcode    text,
    city        text NOT NULL,
    country     char(2) NOT NULL
);

CREATE TABLE sales.product (
    sku        text PRIMARY KEY,
    title      text NOT NULL,
    price      numeric(12,2) NOT NULL CHECK (price >= 0),
    weight_g   integer,
    attributes jsonb,
    thumbnail  bytea
);

CREATE TABLE sales."order" (
    order_id    bigint PRIMARY KEY,
    customer_id bigint NOT NULL REFERENCES crm.customer,
    state       text NOT NULL,
    placed_at   timestamptz NOT NULL,
    total       numeric(14,2) NOT NULL,
    currency    char(3) NOT NULL,
    reference   text NOT NULL UNIQUE,
    remark      text
);

CREATE TABLE sales.line (
    order_id   bigint NOT NULL REFERENCES sales."order",
    line_no    integer NOT NULL,
    sku        text NOT NULL REFERENCES sales.product,
    quantity   integer NOT NULL CHECK (quantity > 0),
    unit_price numeric(12,2) NOT NULL,
    PRIMARY KEY (order_id, line_no)
);

CREATE TABLE crm.note (
    note_id     uuid PRIMARY KEY,
    customer_id bigint NOT NULL REFERENCES crm.customer ON DELETE CASCADE,
    author      text NOT NULL,
    body        text NOT NULL,
    tags        text[] NOT NULL,
    written_at  timestamptz NOT NULL
);
