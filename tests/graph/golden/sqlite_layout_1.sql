-- What the first released layout holds, dumped from a store it wrote. Never changed.
BEGIN TRANSACTION;
PRAGMA user_version = 1;
CREATE TABLE change(
            at integer not null, event text not null, entity text not null, source text, kind text, target text);
INSERT INTO "change" VALUES(1770000000000000000,'entity_appeared','service:prod/shop/cart',NULL,NULL,NULL);
INSERT INTO "change" VALUES(1770000000000000000,'entity_appeared','service:prod/shop/checkout',NULL,NULL,NULL);
INSERT INTO "change" VALUES(1770000000000000000,'entity_appeared','database:prod/shop/örders/o''brien',NULL,NULL,NULL);
INSERT INTO "change" VALUES(1770000005000000000,'entity_appeared','pod:prod/shop/cart-1',NULL,NULL,NULL);
INSERT INTO "change" VALUES(1770000000000000000,'relation_appeared','service:prod/shop/checkout','service:prod/shop/checkout','calls','service:prod/shop/cart');
INSERT INTO "change" VALUES(1770000000000000000,'relation_appeared','service:prod/shop/cart','service:prod/shop/cart','queries','database:prod/shop/örders/o''brien');
INSERT INTO "change" VALUES(1770000005000000000,'relation_appeared','service:prod/shop/cart','service:prod/shop/cart','runs_on','pod:prod/shop/cart-1');
INSERT INTO "change" VALUES(1770000060000000000,'entity_changed','service:prod/shop/cart',NULL,NULL,NULL);
INSERT INTO "change" VALUES(1770001000000000000,'relation_expired','service:prod/shop/cart','service:prod/shop/cart','runs_on','pod:prod/shop/cart-1');
INSERT INTO "change" VALUES(1770001000000000000,'entity_expired','pod:prod/shop/cart-1',NULL,NULL,NULL);
INSERT INTO "change" VALUES(1770002000000000000,'entity_appeared','pod:prod/shop/cart-1',NULL,NULL,NULL);
CREATE TABLE entity(
            ref text not null, kind text not null, attributes text not null, sources text not null,
            first_seen integer not null, last_seen integer not null, opened integer not null, closed integer);
INSERT INTO "entity" VALUES('service:prod/shop/cart','service','{"version":"1.0"}','["otlp.traces"]',1770000000000000000,1770000000000000000,1770000000000000000,1770000060000000000);
INSERT INTO "entity" VALUES('service:prod/shop/checkout','service','{}','["otlp.traces"]',1770000000000000000,1770002000000000000,1770000000000000000,NULL);
INSERT INTO "entity" VALUES('database:prod/shop/örders/o''brien','database','{}','["otlp.traces"]',1770000000000000000,1770002000000000000,1770000000000000000,NULL);
INSERT INTO "entity" VALUES('pod:prod/shop/cart-1','pod','{}','["otlp.traces"]',1770000005000000000,1770000005000000000,1770000005000000000,1770001000000000000);
INSERT INTO "entity" VALUES('service:prod/shop/cart','service','{"version":"1.1"}','["otlp.traces"]',1770000000000000000,1770002000000000000,1770000060000000000,NULL);
INSERT INTO "entity" VALUES('pod:prod/shop/cart-1','pod','{}','["otlp.traces"]',1770002000000000000,1770002000000000000,1770002000000000000,NULL);
CREATE TABLE incident(id text primary key, state text not null, opened_at integer not null, content text not null);
INSERT INTO "incident" VALUES('i1','recovered',1770000100000000000,'{"id":"i1","entity":"database:prod/shop/örders/o''brien","defect":"slow_query","state":"recovered","opened_at":1770000100000000000,"onset":1770000090000000000,"closed_at":1770000400000000000,"probability":0.2,"peak_probability":0.97,"symptoms":[["service:prod/shop/cart","latency_high"]]}');
INSERT INTO "incident" VALUES('i2','open',1770001500000000000,'{"id":"i2","entity":"service:prod/shop/cart","defect":"slow_code","state":"open","opened_at":1770001500000000000,"onset":null,"closed_at":null,"probability":0.8,"peak_probability":0.8,"symptoms":[]}');
CREATE TABLE relation(
            source text not null, kind text not null, target text not null, sources text not null, confidence real not null, statistics text,
            first_seen integer not null, last_seen integer not null, opened integer not null, closed integer);
INSERT INTO "relation" VALUES('service:prod/shop/checkout','calls','service:prod/shop/cart','["otlp.traces"]',0.99,'{"seconds":60.0,"requests":120,"errors":3,"duration":4.5}',1770000000000000000,1770002000000000000,1770000000000000000,NULL);
INSERT INTO "relation" VALUES('service:prod/shop/cart','queries','database:prod/shop/örders/o''brien','["otlp.traces"]',0.99,NULL,1770000000000000000,1770002000000000000,1770000000000000000,NULL);
INSERT INTO "relation" VALUES('service:prod/shop/cart','runs_on','pod:prod/shop/cart-1','["otlp.traces"]',0.9,NULL,1770000005000000000,1770000005000000000,1770000005000000000,1770001000000000000);
CREATE TABLE state(name text primary key, content blob not null);
INSERT INTO "state" VALUES('memory',X'000162656C696566');
CREATE UNIQUE INDEX entity_present on entity(ref) where closed is null;
CREATE INDEX entity_past on entity(ref, opened);
CREATE INDEX entity_kind on entity(kind, ref) where closed is null;
CREATE UNIQUE INDEX relation_present on relation(source, kind, target) where closed is null;
CREATE INDEX relation_target on relation(target) where closed is null;
CREATE INDEX relation_past on relation(source, kind, target, opened);
CREATE INDEX relation_past_target on relation(target, opened);
CREATE INDEX change_at on change(at);
CREATE INDEX incident_opened on incident(opened_at);
COMMIT;
