PRAGMA application_id = 1651665779;
PRAGMA user_version = 5;
CREATE TABLE accounts (
    account INTEGER PRIMARY KEY,
    owner TEXT NOT NULL, provider TEXT NOT NULL, environment TEXT NOT NULL, account_id TEXT NOT NULL,
    data TEXT,
    UNIQUE (owner, provider, environment, account_id)
);
INSERT INTO "accounts" VALUES(1,'o','paper','live','A','{"account_id":"A","closed":false,"currency":"USD","environment":"live","kind":null,"name":null,"opened_at":null,"state":{}}');
CREATE TABLE booking_names (
    account INTEGER NOT NULL, name TEXT NOT NULL, set_id INTEGER NOT NULL, PRIMARY KEY (account, name)
) WITHOUT ROWID;
INSERT INTO "booking_names" VALUES(1,'a',1);
INSERT INTO "booking_names" VALUES(1,'a-cancel',1);
INSERT INTO "booking_names" VALUES(1,'b',2);
INSERT INTO "booking_names" VALUES(1,'z',3);
INSERT INTO "booking_names" VALUES(1,'z-cancel',3);
CREATE TABLE bookings (
    booking INTEGER PRIMARY KEY,
    account INTEGER NOT NULL, source TEXT NOT NULL, booking_id TEXT NOT NULL,
    set_id INTEGER NOT NULL, version INTEGER NOT NULL, is_cancel INTEGER NOT NULL,
    hash BLOB NOT NULL, content TEXT NOT NULL, origin TEXT, as_of TEXT, told BLOB,
    UNIQUE (account, source, booking_id)
);
INSERT INTO "bookings" VALUES(1,1,'fills','a',1,1,0,X'51275ABF607A3DEAB3B36377953559E0','{"account_id":"A","aliases":[],"booking_id":"a","effect":"new","environment":"live","fees":[],"fees_mode":"total","id_quality":"broker","loose_refs":[],"order":[],"refs":["a"],"trade":{"account_id":"A","accrued_interest":null,"environment":"live","event":"execution","executed_at":"2026-03-02T15:00:00Z","fees":[],"fees_state":"final","granularity":"fill","group_id":null,"id_quality":"broker","instrument":{"asset_class":"stock","broker_id":null,"currency":null,"cusip":null,"exchange":null,"expiry":null,"figi":null,"isin":null,"multiplier":null,"right":null,"strike":null,"symbol":"EUR","underlying":null},"leg":null,"net_cash":null,"order_id":null,"position_effect":"unknown","price":"2","price_unit":"money","provider":"paper","quantity":"1","raw":{},"related":[],"revision":1,"side":"buy","sources":[],"status":"active","tags":[],"time_precision":"second","trade_date":null,"trade_id":"a"}}',NULL,NULL,NULL);
INSERT INTO "bookings" VALUES(2,1,'fills','b',2,1,0,X'D58737397D41F8CF1709B52EC4875BE5','{"account_id":"A","aliases":[],"booking_id":"b","effect":"new","environment":"live","fees":[],"fees_mode":"total","id_quality":"broker","loose_refs":[],"order":[],"refs":["b"],"trade":{"account_id":"A","accrued_interest":null,"environment":"live","event":"execution","executed_at":"2026-03-03T15:00:00Z","fees":[],"fees_state":"final","granularity":"fill","group_id":null,"id_quality":"broker","instrument":{"asset_class":"stock","broker_id":null,"currency":null,"cusip":null,"exchange":null,"expiry":null,"figi":null,"isin":null,"multiplier":null,"right":null,"strike":null,"symbol":"EUR","underlying":null},"leg":null,"net_cash":null,"order_id":null,"position_effect":"unknown","price":"2","price_unit":"money","provider":"paper","quantity":"1","raw":{},"related":[],"revision":1,"side":"buy","sources":[],"status":"active","tags":[],"time_precision":"second","trade_date":null,"trade_id":"b"}}',NULL,NULL,NULL);
INSERT INTO "bookings" VALUES(3,1,'fills','a-cancel',1,1,1,X'1D1397F9ABE9E13AA2E79D9E7F7B5E52','{"account_id":"A","aliases":[],"booking_id":"a-cancel","effect":"cancel","environment":"live","fees":[],"fees_mode":"total","id_quality":"broker","loose_refs":[],"order":[],"refs":["a"],"trade":null}',NULL,NULL,NULL);
INSERT INTO "bookings" VALUES(4,1,'fills','z-cancel',3,1,1,X'9D519A4065EEA4AEF49F2CC2EF0856FE','{"account_id":"A","aliases":[],"booking_id":"z-cancel","effect":"cancel","environment":"live","fees":[],"fees_mode":"total","id_quality":"broker","loose_refs":[],"order":[],"refs":["z"],"trade":null}',NULL,NULL,NULL);
CREATE TABLE bookmarks (
    connection_id TEXT NOT NULL, source TEXT NOT NULL, account TEXT NOT NULL, bookmark TEXT NOT NULL,
    PRIMARY KEY (connection_id, source, account)
) WITHOUT ROWID;
INSERT INTO "bookmarks" VALUES('paper-1','fills','live/A','m');
CREATE TABLE changes (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    owner TEXT NOT NULL, account INTEGER NOT NULL, trade_id TEXT NOT NULL,
    kind TEXT NOT NULL, cause TEXT NOT NULL, revision INTEGER NOT NULL, at TEXT NOT NULL, merged_into TEXT
);
INSERT INTO "changes" VALUES(1,'o',1,'a','added','broker',1,'2026-03-02T15:00:00Z',NULL);
INSERT INTO "changes" VALUES(2,'o',1,'b','added','broker',1,'2026-03-02T15:00:00Z',NULL);
INSERT INTO "changes" VALUES(3,'o',1,'a','modified','correction',2,'2026-03-02T15:00:00Z',NULL);
CREATE TABLE connection_accounts (
    connection_id TEXT NOT NULL, account INTEGER NOT NULL, PRIMARY KEY (connection_id, account)
) WITHOUT ROWID;
INSERT INTO "connection_accounts" VALUES('paper-1',1);
CREATE TABLE connections (
    connection_id TEXT PRIMARY KEY,
    owner TEXT NOT NULL, provider TEXT NOT NULL, environment TEXT NOT NULL, identity TEXT NOT NULL,
    data TEXT NOT NULL, state TEXT, created_at TEXT, next_at TEXT, deadline TEXT, last_synced_at TEXT, doubted_since TEXT,
    UNIQUE (owner, provider, environment, identity)
);
INSERT INTO "connections" VALUES('paper-1','o','paper','live','me','{"connection_id":"paper-1","created_at":"2026-03-02T15:00:00Z","environment":"live","identity":"me","label":"Paper","last_synced_at":"2026-03-03T15:00:00Z","owner":"o","provider":"paper","reason":null,"since":"2026-03-02T15:00:00Z","state":"active"}','active','2026-03-02T15:00:00.000000Z',NULL,NULL,NULL,NULL);
CREATE TABLE coverage (
    account INTEGER NOT NULL, source TEXT NOT NULL, starts TEXT NOT NULL, ends TEXT NOT NULL, state TEXT NOT NULL,
    PRIMARY KEY (account, source, starts)
) WITHOUT ROWID;
INSERT INTO "coverage" VALUES(1,'fills','2026-03-02T15:00:00.000000Z','2026-03-09T15:00:00.000000Z','final');
CREATE TABLE environment_health (
    provider TEXT NOT NULL,
    environment TEXT NOT NULL,
    data TEXT NOT NULL,
    PRIMARY KEY (provider, environment)
);
CREATE TABLE environment_incidents (
    provider TEXT NOT NULL,
    environment TEXT NOT NULL,
    opened_at TEXT NOT NULL,
    data TEXT NOT NULL,
    PRIMARY KEY (provider, environment, opened_at)
);
CREATE TABLE failing_windows (
    connection_id TEXT NOT NULL,
    source TEXT NOT NULL,
    account TEXT NOT NULL,
    starts TEXT NOT NULL,
    ends TEXT NOT NULL,
    failures INTEGER NOT NULL,
    reason TEXT NOT NULL,
    at TEXT NOT NULL,
    not_before TEXT,
    PRIMARY KEY (connection_id, source, account, starts)
) WITHOUT ROWID;
CREATE TABLE feed_head (
    one INTEGER PRIMARY KEY,
    position INTEGER NOT NULL
);
INSERT INTO "feed_head" VALUES(1,3);
CREATE TABLE feed_starts (
    owner TEXT PRIMARY KEY,
    kept_from INTEGER NOT NULL
);
CREATE TABLE finished_windows (
    connection_id TEXT NOT NULL, source TEXT NOT NULL, account TEXT NOT NULL,
    starts TEXT NOT NULL, ends TEXT NOT NULL, at TEXT NOT NULL, again_from TEXT,
    PRIMARY KEY (connection_id, source, account, starts)
) WITHOUT ROWID;
CREATE TABLE grants (
    owner TEXT NOT NULL, provider TEXT NOT NULL, environment TEXT NOT NULL, identity TEXT NOT NULL,
    generation INTEGER NOT NULL, auth BLOB NOT NULL, credentials BLOB NOT NULL, renewing_since TEXT, expires_at TEXT, grant_expires_at TEXT, tried_at TEXT, fixed_end TEXT, warned_of TEXT,
    PRIMARY KEY (owner, provider, environment, identity)
);
INSERT INTO "grants" VALUES('o','paper','live','me',3,X'61757468',X'63726564','2026-03-02T15:00:00.000000Z','2026-03-02T16:00:00.000000Z',NULL,NULL,NULL,NULL);
CREATE TABLE jobs (
    connection_id TEXT PRIMARY KEY, owner TEXT NOT NULL, provider TEXT NOT NULL, environment TEXT NOT NULL,
    at TEXT NOT NULL, deadline TEXT, asked INTEGER NOT NULL, holder TEXT NOT NULL, held_until TEXT
);
CREATE INDEX jobs_by_time ON jobs (at);
CREATE INDEX jobs_by_owner ON jobs (owner);
CREATE INDEX jobs_by_holder ON jobs (holder);
CREATE TABLE leases (
    name TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    holder TEXT NOT NULL,
    fence INTEGER NOT NULL,
    expires_at TEXT NOT NULL
);
CREATE TABLE open_requests (
    connection_id TEXT NOT NULL, source TEXT NOT NULL, account TEXT NOT NULL, data TEXT NOT NULL,
    PRIMARY KEY (connection_id, source, account)
) WITHOUT ROWID;
INSERT INTO "open_requests" VALUES('paper-1','fills','live/A','{"account":"live/A","attempts":0,"begun_at":"2026-03-02T15:00:00Z","connection_id":"paper-1","cursor":"7","resume_at":null,"source":"fills","window":{"end":"2026-03-09T15:00:00Z","start":"2026-03-02T15:00:00Z"}}');
CREATE TABLE owner_keys (owner TEXT PRIMARY KEY, wrapped BLOB NOT NULL);
INSERT INTO "owner_keys" VALUES('o',X'77726170706564');
CREATE TABLE quarantine (
    owner TEXT NOT NULL, provider TEXT NOT NULL, source TEXT NOT NULL, hash BLOB NOT NULL,
    environment TEXT, account_id TEXT, reason TEXT NOT NULL, raw BLOB NOT NULL, first_seen TEXT NOT NULL, as_of TEXT,
    PRIMARY KEY (owner, provider, source, hash)
);
INSERT INTO "quarantine" VALUES('o','paper','fills',X'2E4D48A58E99BFE43CA3F77AEF9D682D',NULL,'A','side',X'785EAB562ACE4C4955B252B257AA0500194C039F','2026-03-02T15:00:00Z',NULL);
CREATE TABLE raw_rows (booking INTEGER PRIMARY KEY, data BLOB NOT NULL, at TEXT);
INSERT INTO "raw_rows" VALUES(1,X'785EAB56AA50B2523254AA05000C7E0264','2026-03-03T15:00:00Z');
CREATE TABLE reference_data (
    provider TEXT NOT NULL, environment TEXT NOT NULL, name TEXT NOT NULL, data TEXT NOT NULL,
    PRIMARY KEY (provider, environment, name)
) WITHOUT ROWID;
INSERT INTO "reference_data" VALUES('paper','live','ACME','{"id":1}');
CREATE TABLE store_layout (
    one INTEGER PRIMARY KEY,
    version INTEGER NOT NULL,
    compatible_from INTEGER NOT NULL
);
INSERT INTO "store_layout" VALUES(1,5,3);
CREATE TABLE sync_log (
    entry INTEGER PRIMARY KEY AUTOINCREMENT, connection_id TEXT NOT NULL, at TEXT NOT NULL, report TEXT NOT NULL
, owner TEXT);
INSERT INTO "sync_log" VALUES(1,'paper-1','2026-03-03T15:00:00Z','{"added": 2, "owner": "o"}','o');
CREATE TABLE trades (
    owner TEXT NOT NULL, account INTEGER NOT NULL, trade_id TEXT NOT NULL, set_id INTEGER NOT NULL,
    revision INTEGER NOT NULL, status TEXT NOT NULL, executed_at TEXT NOT NULL, symbol TEXT NOT NULL,
    content TEXT NOT NULL,
    PRIMARY KEY (account, trade_id)
) WITHOUT ROWID;
INSERT INTO "trades" VALUES('o',1,'a',1,2,'cancelled','2026-03-02T15:00:00.000000Z','EUR','{"account_id":"A","accrued_interest":null,"environment":"live","event":"execution","executed_at":"2026-03-02T15:00:00Z","fees":[],"fees_state":"final","granularity":"fill","group_id":null,"id_quality":"broker","instrument":{"asset_class":"stock","broker_id":null,"currency":null,"cusip":null,"exchange":null,"expiry":null,"figi":null,"isin":null,"multiplier":null,"right":null,"strike":null,"symbol":"EUR","underlying":null},"leg":null,"net_cash":null,"order_id":null,"position_effect":"unknown","price":"2","price_unit":"money","provider":"paper","quantity":"1","raw":{},"related":[],"revision":2,"side":"buy","sources":["fills"],"status":"cancelled","tags":[],"time_precision":"second","trade_date":null,"trade_id":"a"}');
INSERT INTO "trades" VALUES('o',1,'b',2,1,'active','2026-03-03T15:00:00.000000Z','EUR','{"account_id":"A","accrued_interest":null,"environment":"live","event":"execution","executed_at":"2026-03-03T15:00:00Z","fees":[],"fees_state":"final","granularity":"fill","group_id":null,"id_quality":"broker","instrument":{"asset_class":"stock","broker_id":null,"currency":null,"cusip":null,"exchange":null,"expiry":null,"figi":null,"isin":null,"multiplier":null,"right":null,"strike":null,"symbol":"EUR","underlying":null},"leg":null,"net_cash":null,"order_id":null,"position_effect":"unknown","price":"2","price_unit":"money","provider":"paper","quantity":"1","raw":{},"related":[],"revision":1,"side":"buy","sources":["fills"],"status":"active","tags":[],"time_precision":"second","trade_date":null,"trade_id":"b"}');
CREATE INDEX bookings_by_set ON bookings (set_id);
CREATE INDEX booking_names_by_set ON booking_names (set_id);
CREATE INDEX trades_by_set ON trades (set_id);
CREATE INDEX trades_by_time ON trades (owner, executed_at, account, trade_id);
CREATE INDEX changes_by_owner ON changes (owner, position);
CREATE INDEX sync_log_by_connection ON sync_log (connection_id, entry);
CREATE INDEX connections_due ON connections (state, next_at);
CREATE INDEX connections_by_broker ON connections (provider, state, next_at);
CREATE INDEX raw_rows_by_age ON raw_rows (at);
CREATE INDEX sync_log_by_age ON sync_log (at);
CREATE INDEX connections_in_doubt ON connections (provider, environment, doubted_since);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('changes',3);
INSERT INTO "sqlite_sequence" VALUES('sync_log',1);
