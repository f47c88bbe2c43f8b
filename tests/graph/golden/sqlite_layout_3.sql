-- What a store of layout 3 holds: that of layout 2, as the Whence of layout 3 took it up, with attributes. Never changed.
BEGIN TRANSACTION;
PRAGMA user_version = 3;
CREATE TABLE attribute(entity integer primary key, held integer not null);
INSERT INTO "attribute" VALUES(3,1);
INSERT INTO "attribute" VALUES(4,1);
CREATE TABLE dependency(source integer not null, kind text not null, target integer not null, held integer not null,
            primary key(source, target, kind)) without rowid;
INSERT INTO "dependency" VALUES(4,'calls',3,2);
CREATE TABLE entity_interval(
            id integer not null, attributes text not null, sources text not null,
            first_seen integer not null, last_seen integer not null, told integer not null, opened integer not null, closed integer);
INSERT INTO "entity_interval" VALUES(3,'{"version":"1.0"}','["otlp.traces"]',1770000000000000000,1770000000000000000,1770000000000000000,1770000000000000000,1770000060000000000);
INSERT INTO "entity_interval" VALUES(4,'{}','["otlp.traces"]',1770000000000000000,1770002000000000000,1770002000000000000,1770000000000000000,NULL);
INSERT INTO "entity_interval" VALUES(1,'{}','["otlp.traces"]',1770000000000000000,1770002000000000000,1770002000000000000,1770000000000000000,NULL);
INSERT INTO "entity_interval" VALUES(2,'{}','["otlp.traces"]',1770000005000000000,1770000005000000000,1770000005000000000,1770000005000000000,1770001000000000000);
INSERT INTO "entity_interval" VALUES(3,'{"version":"1.1"}','["otlp.traces"]',1770000000000000000,1770002000000000000,1770002000000000000,1770000060000000000,NULL);
INSERT INTO "entity_interval" VALUES(2,'{}','["otlp.traces"]',1770002000000000000,1770002000000000000,1770002000000000000,1770002000000000000,NULL);
CREATE TABLE incident(id text primary key, state text not null, opened_at integer not null, content text not null);
INSERT INTO "incident" VALUES('i1','recovered',1770000100000000000,'{"id":"i1","entity":"database:prod/shop/örders/o''brien","defect":"slow_query","state":"recovered","opened_at":1770000100000000000,"onset":1770000090000000000,"closed_at":1770000400000000000,"probability":0.2,"peak_probability":0.97,"symptoms":[["service:prod/shop/cart","latency_high"]]}');
INSERT INTO "incident" VALUES('i2','open',1770001500000000000,'{"id":"i2","entity":"service:prod/shop/cart","defect":"slow_code","state":"open","opened_at":1770001500000000000,"onset":null,"closed_at":null,"probability":0.8,"peak_probability":0.8,"symptoms":[]}');
CREATE TABLE name(id integer primary key, ref text not null unique, kind text not null);
INSERT INTO "name" VALUES(1,'database:prod/shop/örders/o''brien','database');
INSERT INTO "name" VALUES(2,'pod:prod/shop/cart-1','pod');
INSERT INTO "name" VALUES(3,'service:prod/shop/cart','service');
INSERT INTO "name" VALUES(4,'service:prod/shop/checkout','service');
CREATE TABLE relation_interval(
            source integer not null, kind text not null, target integer not null, sources text not null, confidence real not null, statistics text,
            first_seen integer not null, last_seen integer not null, opened integer not null, closed integer);
INSERT INTO "relation_interval" VALUES(4,'calls',3,'["otlp.traces"]',0.99,'{"seconds":60.0,"requests":120,"errors":3,"duration":4.5}',1770000000000000000,1770002000000000000,1770000000000000000,NULL);
INSERT INTO "relation_interval" VALUES(3,'queries',1,'["otlp.traces"]',0.99,NULL,1770000000000000000,1770002000000000000,1770000000000000000,NULL);
INSERT INTO "relation_interval" VALUES(3,'runs_on',2,'["otlp.traces"]',0.9,NULL,1770000005000000000,1770000005000000000,1770000005000000000,1770001000000000000);
CREATE TABLE shared_text(id integer primary key, content text not null unique);
INSERT INTO "shared_text" VALUES(1,'{"quantities":[{"name":"latency","unit":"s","measured":true,"conditions":["latency_high"]}],"dependencies":[]}');
INSERT INTO "shared_text" VALUES(2,'{"of_source":[{"effect":"latency","cause":"latency","strength":0.35,"rules":["latency_high -> latency_high"]}],"of_target":[]}');
CREATE TABLE state(name text primary key, content blob not null);
INSERT INTO "state" VALUES('memory',X'000162656C696566');
CREATE TABLE structure_change(
            at integer not null, event text not null, entity integer not null, source integer, kind text, target integer, detail text not null);
INSERT INTO "structure_change" VALUES(1770000000000000000,'entity_appeared',3,NULL,NULL,NULL,'');
INSERT INTO "structure_change" VALUES(1770000000000000000,'entity_appeared',4,NULL,NULL,NULL,'');
INSERT INTO "structure_change" VALUES(1770000000000000000,'entity_appeared',1,NULL,NULL,NULL,'');
INSERT INTO "structure_change" VALUES(1770000005000000000,'entity_appeared',2,NULL,NULL,NULL,'');
INSERT INTO "structure_change" VALUES(1770000000000000000,'relation_appeared',4,4,'calls',3,'');
INSERT INTO "structure_change" VALUES(1770000000000000000,'relation_appeared',3,3,'queries',1,'');
INSERT INTO "structure_change" VALUES(1770000005000000000,'relation_appeared',3,3,'runs_on',2,'');
INSERT INTO "structure_change" VALUES(1770000060000000000,'entity_changed',3,NULL,NULL,NULL,'');
INSERT INTO "structure_change" VALUES(1770001000000000000,'relation_expired',3,3,'runs_on',2,'');
INSERT INTO "structure_change" VALUES(1770001000000000000,'entity_expired',2,NULL,NULL,NULL,'');
INSERT INTO "structure_change" VALUES(1770002000000000000,'entity_appeared',2,NULL,NULL,NULL,'');
CREATE INDEX incident_opened on incident(opened_at);
CREATE UNIQUE INDEX entity_now on entity_interval(id) where closed is null;
CREATE INDEX entity_past on entity_interval(id, closed) where closed is not null;
CREATE UNIQUE INDEX relation_now on relation_interval(source, target, kind) where closed is null;
CREATE INDEX relation_now_target on relation_interval(target) where closed is null;
CREATE INDEX relation_past on relation_interval(source, target, kind, closed) where closed is not null;
CREATE INDEX relation_past_target on relation_interval(target) where closed is not null;
CREATE INDEX structure_change_at on structure_change(at, entity);
CREATE INDEX dependency_target on dependency(target);
COMMIT;
