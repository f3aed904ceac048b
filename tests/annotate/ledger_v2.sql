BEGIN TRANSACTION;
CREATE TABLE attempts (
    id INTEGER PRIMARY KEY, key BLOB NOT NULL, endpoint TEXT NOT NULL, at REAL NOT NULL, tokens INTEGER NOT NULL,
    bound INTEGER NOT NULL, outcome TEXT, seconds REAL, detail TEXT);
INSERT INTO "attempts" VALUES(1,X'0000000000000000000000000000000000000000000000000000000000000000','e-0',1800000000.0,7,1000000000000,'answered',0.1,NULL);
INSERT INTO "attempts" VALUES(2,X'0101010101010101010101010101010101010101010101010101010101010101','e-1',1800000000.0,7,1000000000001,'answered',0.1,NULL);
INSERT INTO "attempts" VALUES(3,X'0202020202020202020202020202020202020202020202020202020202020202','e-0',1800000000.0,7,1000000000002,'answered',0.1,NULL);
INSERT INTO "attempts" VALUES(4,X'0303030303030303030303030303030303030303030303030303030303030303','e-1',1800000000.0,5,1000000000003,'timeout',0.1,NULL);
INSERT INTO "attempts" VALUES(5,X'0404040404040404040404040404040404040404040404040404040404040404','e-0',1800000000.0,5,1000000000004,'error',0.1,NULL);
INSERT INTO "attempts" VALUES(6,X'0505050505050505050505050505050505050505050505050505050505050505','e-1',1800000000.0,5,1000000000005,NULL,NULL,NULL);
INSERT INTO "attempts" VALUES(7,X'0606060606060606060606060606060606060606060606060606060606060606','e-0',1800000000.0,5,1000000000006,NULL,NULL,NULL);
CREATE TABLE batched (key BLOB PRIMARY KEY, batch TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "batched" VALUES(X'0707070707070707070707070707070707070707070707070707070707070707','b');
CREATE TABLE batches (
    name TEXT PRIMARY KEY, endpoint TEXT NOT NULL, id TEXT, number INTEGER NOT NULL, high INTEGER NOT NULL,
    low INTEGER NOT NULL, at REAL NOT NULL) WITHOUT ROWID;
INSERT INTO "batches" VALUES('b','e-1',NULL,1,10000000,0,1800000000.0);
CREATE TABLE concluded (query_id TEXT PRIMARY KEY, mark TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE dropped (place INTEGER PRIMARY KEY, reason TEXT NOT NULL, line TEXT NOT NULL);
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
INSERT INTO "meta" VALUES('version','2');
CREATE TABLE queries (
    place INTEGER PRIMARY KEY, query_id TEXT UNIQUE NOT NULL, domain TEXT NOT NULL, query TEXT NOT NULL, source TEXT,
    passed INTEGER, messages TEXT, license TEXT, original TEXT);
CREATE TABLE recipes (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, domain TEXT NOT NULL, endpoint TEXT NOT NULL, text TEXT NOT NULL,
    UNIQUE (kind, domain, endpoint, text));
INSERT INTO "recipes" VALUES(1,'generate','chat','e-0','r');
INSERT INTO "recipes" VALUES(2,'generate','chat','e-1','r');
INSERT INTO "recipes" VALUES(3,'judge','chat','e-0','r');
INSERT INTO "recipes" VALUES(4,'judge','chat','e-1','r');
CREATE TABLE requests (
    key BLOB PRIMARY KEY, endpoint TEXT NOT NULL, kind TEXT NOT NULL, domain TEXT NOT NULL, query_id TEXT NOT NULL,
    author TEXT, ask INTEGER NOT NULL, state TEXT NOT NULL, reason TEXT, score REAL, characters INTEGER NOT NULL,
    prompt_tokens INTEGER, completion_tokens INTEGER, cost INTEGER NOT NULL DEFAULT 0, at REAL, finish TEXT, body, recipe INTEGER);
INSERT INTO "requests" VALUES(X'0000000000000000000000000000000000000000000000000000000000000000','e-0','generate','chat','q-0',NULL,0,'invalid',NULL,NULL,7,3,4,1000000000,1800000000.0,'stop',X'0000000AA6BC9B8B28B52FFD200A5100007B22E4B880223A20307D',1);
INSERT INTO "requests" VALUES(X'0101010101010101010101010101010101010101010101010101010101010101','e-1','generate','chat','q-1',NULL,0,'answered',NULL,NULL,8,3,4,1000000001,1800000000.0,'stop',X'0000000ABFA7AACA28B52FFD200A5100007B22E4B880223A20317D',2);
INSERT INTO "requests" VALUES(X'0202020202020202020202020202020202020202020202020202020202020202','e-0','generate','chat','q-2',NULL,0,'answered',NULL,NULL,9,3,4,1000000002,1800000000.0,'stop',X'0000000A948AF90928B52FFD200A5100007B22E4B880223A20327D',1);
INSERT INTO "requests" VALUES(X'0303030303030303030303030303030303030303030303030303030303030303','e-1','generate','chat','q-3',NULL,0,'failed','timeout: x',NULL,10,NULL,NULL,0,1800000000.0,NULL,NULL,2);
INSERT INTO "requests" VALUES(X'0404040404040404040404040404040404040404040404040404040404040404','e-0','judge','chat','q-4',NULL,0,'open',NULL,NULL,11,NULL,NULL,0,NULL,NULL,NULL,3);
INSERT INTO "requests" VALUES(X'0505050505050505050505050505050505050505050505050505050505050505','e-1','judge','chat','q-5',NULL,0,'open',NULL,NULL,12,NULL,NULL,0,NULL,NULL,NULL,4);
INSERT INTO "requests" VALUES(X'0606060606060606060606060606060606060606060606060606060606060606','e-0','judge','chat','q-6',NULL,0,'open',NULL,NULL,13,NULL,NULL,0,NULL,NULL,NULL,3);
INSERT INTO "requests" VALUES(X'0707070707070707070707070707070707070707070707070707070707070707','e-1','judge','chat','q-7',NULL,0,'batched',NULL,NULL,14,NULL,NULL,0,NULL,NULL,NULL,4);
CREATE TABLE totals (
    endpoint TEXT NOT NULL, kind TEXT NOT NULL, domain TEXT NOT NULL, recipe INTEGER NOT NULL, state TEXT NOT NULL,
    ask INTEGER NOT NULL, finish TEXT NOT NULL, number INTEGER NOT NULL, high INTEGER NOT NULL, low INTEGER NOT NULL, told INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL, characters INTEGER NOT NULL, completion_tokens INTEGER NOT NULL,
    PRIMARY KEY (endpoint, kind, domain, recipe, state, ask, finish)) WITHOUT ROWID;
INSERT INTO "totals" VALUES('e-0','generate','chat',1,'answered',0,'stop',1,1000,2,1,3,9,4);
INSERT INTO "totals" VALUES('e-0','generate','chat',1,'invalid',0,'stop',1,1000,0,1,3,7,4);
INSERT INTO "totals" VALUES('e-0','generate','chat',1,'open',0,'',0,0,0,0,0,0,0);
INSERT INTO "totals" VALUES('e-0','judge','chat',3,'open',0,'',2,0,0,0,0,0,0);
INSERT INTO "totals" VALUES('e-1','generate','chat',2,'answered',0,'stop',1,1000,1,1,3,8,4);
INSERT INTO "totals" VALUES('e-1','generate','chat',2,'failed',0,'',1,0,0,0,0,0,0);
INSERT INTO "totals" VALUES('e-1','generate','chat',2,'open',0,'',0,0,0,0,0,0,0);
INSERT INTO "totals" VALUES('e-1','judge','chat',4,'batched',0,'',1,0,0,0,0,0,0);
INSERT INTO "totals" VALUES('e-1','judge','chat',4,'open',0,'',1,0,0,0,0,0,0);
CREATE TABLE tried (
    endpoint TEXT NOT NULL, outcome TEXT NOT NULL, number INTEGER NOT NULL, high INTEGER NOT NULL, low INTEGER NOT NULL,
    PRIMARY KEY (endpoint, outcome)) WITHOUT ROWID;
INSERT INTO "tried" VALUES('e-0','',1,1000000,6);
INSERT INTO "tried" VALUES('e-0','answered',2,2000000,2);
INSERT INTO "tried" VALUES('e-0','error',1,1000000,4);
INSERT INTO "tried" VALUES('e-1','',1,1000000,5);
INSERT INTO "tried" VALUES('e-1','answered',1,1000000,1);
INSERT INTO "tried" VALUES('e-1','timeout',1,1000000,3);
CREATE INDEX attempts_open ON attempts (id) WHERE outcome IS NULL;
CREATE INDEX requests_open ON requests (key) WHERE state = 'open';
CREATE INDEX requests_batched ON requests (key) WHERE state = 'batched';
CREATE TRIGGER request_comes AFTER INSERT ON requests BEGIN INSERT INTO totals VALUES (
        NEW.endpoint, NEW.kind, NEW.domain, COALESCE(NEW.recipe, 0), NEW.state, NEW.ask,
        COALESCE(NEW.finish, ''), +(1), +(NEW.cost / 1000000), +(NEW.cost % 1000000), +((NEW.prompt_tokens IS NOT NULL AND NEW.completion_tokens IS NOT NULL)), +((NEW.prompt_tokens IS NOT NULL AND NEW.completion_tokens IS NOT NULL) * COALESCE(NEW.prompt_tokens, 0)), +((NEW.prompt_tokens IS NOT NULL AND NEW.completion_tokens IS NOT NULL) * COALESCE(NEW.characters, 0)), +((NEW.prompt_tokens IS NOT NULL AND NEW.completion_tokens IS NOT NULL) * COALESCE(NEW.completion_tokens, 0)))
    ON CONFLICT (endpoint, kind, domain, recipe, state, ask, finish) DO UPDATE SET number = number + excluded.number, high = high + excluded.high, low = low + excluded.low, told = told + excluded.told, prompt_tokens = prompt_tokens + excluded.prompt_tokens, characters = characters + excluded.characters, completion_tokens = completion_tokens + excluded.completion_tokens; END;
CREATE TRIGGER request_goes AFTER DELETE ON requests BEGIN INSERT INTO totals VALUES (
        OLD.endpoint, OLD.kind, OLD.domain, COALESCE(OLD.recipe, 0), OLD.state, OLD.ask,
        COALESCE(OLD.finish, ''), -(1), -(OLD.cost / 1000000), -(OLD.cost % 1000000), -((OLD.prompt_tokens IS NOT NULL AND OLD.completion_tokens IS NOT NULL)), -((OLD.prompt_tokens IS NOT NULL AND OLD.completion_tokens IS NOT NULL) * COALESCE(OLD.prompt_tokens, 0)), -((OLD.prompt_tokens IS NOT NULL AND OLD.completion_tokens IS NOT NULL) * COALESCE(OLD.characters, 0)), -((OLD.prompt_tokens IS NOT NULL AND OLD.completion_tokens IS NOT NULL) * COALESCE(OLD.completion_tokens, 0)))
    ON CONFLICT (endpoint, kind, domain, recipe, state, ask, finish) DO UPDATE SET number = number + excluded.number, high = high + excluded.high, low = low + excluded.low, told = told + excluded.told, prompt_tokens = prompt_tokens + excluded.prompt_tokens, characters = characters + excluded.characters, completion_tokens = completion_tokens + excluded.completion_tokens; END;
CREATE TRIGGER request_changes AFTER UPDATE ON requests BEGIN INSERT INTO totals VALUES (
        OLD.endpoint, OLD.kind, OLD.domain, COALESCE(OLD.recipe, 0), OLD.state, OLD.ask,
        COALESCE(OLD.finish, ''), -(1), -(OLD.cost / 1000000), -(OLD.cost % 1000000), -((OLD.prompt_tokens IS NOT NULL AND OLD.completion_tokens IS NOT NULL)), -((OLD.prompt_tokens IS NOT NULL AND OLD.completion_tokens IS NOT NULL) * COALESCE(OLD.prompt_tokens, 0)), -((OLD.prompt_tokens IS NOT NULL AND OLD.completion_tokens IS NOT NULL) * COALESCE(OLD.characters, 0)), -((OLD.prompt_tokens IS NOT NULL AND OLD.completion_tokens IS NOT NULL) * COALESCE(OLD.completion_tokens, 0)))
    ON CONFLICT (endpoint, kind, domain, recipe, state, ask, finish) DO UPDATE SET number = number + excluded.number, high = high + excluded.high, low = low + excluded.low, told = told + excluded.told, prompt_tokens = prompt_tokens + excluded.prompt_tokens, characters = characters + excluded.characters, completion_tokens = completion_tokens + excluded.completion_tokens; INSERT INTO totals VALUES (
        NEW.endpoint, NEW.kind, NEW.domain, COALESCE(NEW.recipe, 0), NEW.state, NEW.ask,
        COALESCE(NEW.finish, ''), +(1), +(NEW.cost / 1000000), +(NEW.cost % 1000000), +((NEW.prompt_tokens IS NOT NULL AND NEW.completion_tokens IS NOT NULL)), +((NEW.prompt_tokens IS NOT NULL AND NEW.completion_tokens IS NOT NULL) * COALESCE(NEW.prompt_tokens, 0)), +((NEW.prompt_tokens IS NOT NULL AND NEW.completion_tokens IS NOT NULL) * COALESCE(NEW.characters, 0)), +((NEW.prompt_tokens IS NOT NULL AND NEW.completion_tokens IS NOT NULL) * COALESCE(NEW.completion_tokens, 0)))
    ON CONFLICT (endpoint, kind, domain, recipe, state, ask, finish) DO UPDATE SET number = number + excluded.number, high = high + excluded.high, low = low + excluded.low, told = told + excluded.told, prompt_tokens = prompt_tokens + excluded.prompt_tokens, characters = characters + excluded.characters, completion_tokens = completion_tokens + excluded.completion_tokens; END;
CREATE TRIGGER attempt_comes AFTER INSERT ON attempts BEGIN INSERT INTO tried VALUES (NEW.endpoint, COALESCE(NEW.outcome, ''), +(1), +(NEW.bound / 1000000), +(NEW.bound % 1000000))
    ON CONFLICT (endpoint, outcome) DO UPDATE
        SET number = number + excluded.number, high = high + excluded.high, low = low + excluded.low; END;
CREATE TRIGGER attempt_goes AFTER DELETE ON attempts BEGIN INSERT INTO tried VALUES (OLD.endpoint, COALESCE(OLD.outcome, ''), -(1), -(OLD.bound / 1000000), -(OLD.bound % 1000000))
    ON CONFLICT (endpoint, outcome) DO UPDATE
        SET number = number + excluded.number, high = high + excluded.high, low = low + excluded.low; END;
CREATE TRIGGER attempt_changes AFTER UPDATE ON attempts BEGIN INSERT INTO tried VALUES (OLD.endpoint, COALESCE(OLD.outcome, ''), -(1), -(OLD.bound / 1000000), -(OLD.bound % 1000000))
    ON CONFLICT (endpoint, outcome) DO UPDATE
        SET number = number + excluded.number, high = high + excluded.high, low = low + excluded.low; INSERT INTO tried VALUES (NEW.endpoint, COALESCE(NEW.outcome, ''), +(1), +(NEW.bound / 1000000), +(NEW.bound % 1000000))
    ON CONFLICT (endpoint, outcome) DO UPDATE
        SET number = number + excluded.number, high = high + excluded.high, low = low + excluded.low; END;
COMMIT;
