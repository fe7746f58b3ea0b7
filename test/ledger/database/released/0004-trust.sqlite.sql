CREATE TABLE "kysely_migration" ("name" varchar(255) not null primary key, "timestamp" varchar(255) not null);
CREATE TABLE "kysely_migration_lock" ("id" varchar(255) not null primary key, "is_locked" integer default 0 not null);
CREATE TABLE "applications" ("name" varchar(63) not null primary key, "last_version" varchar(128), "created_at" varchar(24) not null);
CREATE TABLE "counters" ("name" varchar(32) not null primary key, "value" bigint not null);
CREATE TABLE "releases" ("app" varchar(63) not null, "version" varchar(128) not null, "number" bigint not null, "digest" varchar(71) not null, "base_digest" varchar(71), "war_md5" varchar(32) not null, "war_sha256" varchar(64) not null, "war_size" bigint not null, "repository" varchar(512) not null, "commit_id" varchar(64), "branch" varchar(255), "author" varchar(255), "pipeline_url" longtext, "reason" longtext, "baked_by" varchar(255) not null, "baked_at" varchar(24) not null, "recorded_at" varchar(24) not null, "job_url" longtext, "committed_at" varchar(24), "baked_identity" varchar(255), "baked_by_id" varchar(64), "baked_by_mail" varchar(255), constraint "releases_key" primary key ("app", "version"), constraint "releases_app" foreign key ("app") references "applications" ("name"));
CREATE TABLE "deployments" ("id" varchar(32) not null primary key, "number" bigint not null, "app" varchar(63) not null, "environment" varchar(63) not null, "version" varchar(128) not null, "digest" varchar(71) not null, "config_revision" varchar(128) not null, "started_by" varchar(255) not null, "reason" longtext, "state" varchar(16) not null, "started_at" varchar(24) not null, "finished_at" varchar(24), "error" longtext, "verified" integer not null, "kind" varchar(16) default 'deploy' not null, "lock_token" bigint, "replaced" varchar(32), "identity" varchar(255), "job_url" longtext, "forced" integer default 0 not null, constraint "deployments_number" unique ("number"), constraint "deployments_release" foreign key ("app", "version") references "releases" ("app", "version"));
CREATE TABLE "deployment_hosts" ("deployment" varchar(32) not null, "position" integer not null, "host" varchar(255) not null, "container_id" varchar(255), "previous_container_id" varchar(255), "url" longtext, "ok" integer not null, "duration" bigint not null, constraint "deployment_hosts_key" primary key ("deployment", "position"), constraint "deployment_hosts_host" unique ("deployment", "host"), constraint "deployment_hosts_deployment" foreign key ("deployment") references "deployments" ("id"));
CREATE TABLE "config_revisions" ("revision" varchar(128) not null primary key, "content" longtext not null, "recorded_at" varchar(24) not null);
CREATE TABLE "locks" ("app" varchar(63) not null, "environment" varchar(63) not null, "owner" varchar(255) not null, "reason" longtext not null, "token" bigint not null, "expires_at" varchar(24) not null, constraint "locks_key" primary key ("app", "environment"));
CREATE TABLE "config_changes" ("number" bigint not null primary key, "app" varchar(63) not null, "environment" varchar(63) not null, "changed_by" varchar(255) not null, "reason" longtext, "changed_at" varchar(24) not null, "request" varchar(64), "identity" varchar(255), constraint "config_changes_app" unique ("app", "environment", "number"), constraint "config_changes_application" foreign key ("app") references "applications" ("name"));
CREATE TABLE "config_change_keys" ("number" bigint not null, "position" integer not null, "key_name" varchar(1024) not null, "key_hash" varchar(64) not null, "before_state" varchar(8) not null, "before_text" longtext, "after_state" varchar(8) not null, "after_text" longtext, constraint "config_change_keys_key" primary key ("number", "position"), constraint "config_change_keys_name" unique ("key_hash", "number"), constraint "config_change_keys_set" foreign key ("number") references "config_changes" ("number"));
CREATE TABLE "approvals" ("number" bigint not null primary key, "app" varchar(63) not null, "environment" varchar(63) not null, "version" varchar(128) not null, "digest" varchar(71) not null, "decision" varchar(16) not null, "decided_by" varchar(255) not null, "member_of" longtext not null, "identity" varchar(255) not null, "reason" longtext, "decided_at" varchar(24) not null, "decided_by_id" varchar(64), "decided_by_mail" varchar(255), "token_hash" varchar(64), "config_revision" varchar(128), constraint "approvals_place" unique ("app", "environment", "version", "number"), constraint "approvals_release" foreign key ("app", "version") references "releases" ("app", "version"));
CREATE TABLE "deployment_approvals" ("deployment" varchar(32) not null, "approval" bigint not null, constraint "deployment_approvals_key" primary key ("deployment", "approval"), constraint "deployment_approvals_deployment" foreign key ("deployment") references "deployments" ("id"), constraint "deployment_approvals_approval" foreign key ("approval") references "approvals" ("number"));
CREATE TABLE "marks" ("number" bigint not null primary key, "app" varchar(63) not null, "environment" varchar(63) not null, "version" varchar(128) not null, "bad" integer not null, "marked_by" varchar(255) not null, "reason" longtext not null, "marked_at" varchar(24) not null, "identity" varchar(255), constraint "marks_place" unique ("app", "environment", "version", "number"), constraint "marks_release" foreign key ("app", "version") references "releases" ("app", "version"));
CREATE TABLE "hosts" ("app" varchar(63) not null, "environment" varchar(63) not null, "name" varchar(255) not null, "address" varchar(255) not null, "first_deployment" varchar(32) not null, constraint "hosts_key" primary key ("app", "environment", "name", "address"), constraint "hosts_first" foreign key ("first_deployment") references "deployments" ("id"));
CREATE TABLE "current_deployments" ("app" varchar(63) not null, "environment" varchar(63) not null, "number" bigint not null, constraint "current_deployments_key" primary key ("app", "environment"), constraint "current_deployments_number" foreign key ("number") references "deployments" ("number"));
CREATE TABLE "facts" ("name" varchar(32) not null primary key, "value" varchar(255) not null);
CREATE TABLE "approval_tokens" ("approval" bigint not null primary key, "token" longtext not null, "public_key" longtext not null, constraint "approval_tokens_approval" foreign key ("approval") references "approvals" ("number"));
CREATE TABLE "audit_events" ("number" bigint not null primary key, "app" varchar(63) not null, "environment" varchar(63) not null, "action" varchar(32) not null, "subject" longtext, "done_by" varchar(255) not null, "done_by_id" varchar(64), "identity" varchar(255) not null, "reason" longtext, "job_url" longtext, "done_at" varchar(24) not null, constraint "audit_events_app" foreign key ("app") references "applications" ("name"));
CREATE TABLE "lock_queue" ("number" bigint not null primary key, "app" varchar(63) not null, "environment" varchar(63) not null, "owner" varchar(255) not null, "reason" longtext not null, "expires_at" varchar(24) not null, constraint "lock_queue_owner" unique ("app", "environment", "owner"));
CREATE INDEX "releases_newest" on "releases" ("app", "number");
CREATE INDEX "releases_digest" on "releases" ("app", "digest", "number");
CREATE INDEX "deployments_app" on "deployments" ("app", "environment", "number");
CREATE INDEX "deployments_environment" on "deployments" ("environment", "number");
CREATE INDEX "deployments_state" on "deployments" ("state", "app", "environment", "number");
CREATE UNIQUE INDEX "deployments_lock" on "deployments" ("lock_token");
CREATE INDEX "deployments_newest" on "deployments" ("app", "number");
CREATE INDEX "deployments_release_newest" on "deployments" ("app", "version", "number");
CREATE INDEX "deployments_by" on "deployments" ("started_by", "number");
CREATE INDEX "deployments_state_newest" on "deployments" ("state", "number");
CREATE INDEX "deployments_started" on "deployments" ("started_at", "number");
CREATE UNIQUE INDEX "config_changes_request" on "config_changes" ("request");
CREATE UNIQUE INDEX "approvals_token" on "approvals" ("token_hash");
CREATE INDEX "audit_events_app" on "audit_events" ("app", "environment", "number");
insert into kysely_migration values ('0001-first', '2026-11-23T08:37:23.648Z');
insert into kysely_migration values ('0002-config-changes', '2026-11-23T08:37:23.650Z');
insert into kysely_migration values ('0003-deployment-life', '2026-11-29T22:46:23.717Z');
insert into kysely_migration values ('0004-trust', '2026-11-30T20:36:07.123Z');
insert into kysely_migration_lock values ('migration_lock', 0);
insert into applications values ('webapi', '1.0.1', '2026-01-31T12:00:00.000Z');
insert into applications values ('shop', '1.0.0', '2026-01-31T12:00:00.000Z');
insert into counters values ('release', 3);
insert into counters values ('deployment', 2);
insert into counters values ('lock', 1);
insert into counters values ('config-change', 1);
insert into counters values ('approval', 0);
insert into counters values ('mark', 0);
insert into counters values ('audit-event', 1);
insert into releases values ('webapi', '1.0.0', 1, 'sha256:3372b594c5f179945b6b7a4fd969ffbd959440676d20f7f5b8efc735756147e6', 'sha256:cae662172fd450bb0cd710a769079c05bfc5d8e35efa6576edc7d0377afdd4a2', 'd41d8cd98f00b204e9800998ecf8427e', 'd60939875b169bf83e58df605773205735a7ce6b2dc5499e2cd33d3566a5c774', 67108864, 'registry.test/team/webapi', '2fd4e1c67a2d28fced849ee1bb76e7391b93eb12', 'main', 'li', 'https://gitlab.example.com/team/webapi/-/pipelines/1', 'fixes the search', 'ci', '2026-01-31T12:00:00.000Z', '2026-01-31T12:00:00.000Z', null, null, null, null, null);
insert into releases values ('webapi', '1.0.1', 2, 'sha256:d2f5bdc29071979f2e601802b35934c46ef0470512e3dc994b6c4f2aca45ea72', null, 'd41d8cd98f00b204e9800998ecf8427e', '2194ea94b9146663beea31c67d2846a7634b05d3cfc5bec4cabb04ec1572a44c', 67108864, 'registry.test/team/webapi', null, 'main', 'li', 'https://gitlab.example.com/team/webapi/-/pipelines/1', 'fixes the search', 'ci', '2026-01-31T12:00:00.000Z', '2026-01-31T12:00:00.000Z', null, null, null, null, null);
insert into releases values ('shop', '1.0.0', 3, 'sha256:3372b594c5f179945b6b7a4fd969ffbd959440676d20f7f5b8efc735756147e6', 'sha256:cae662172fd450bb0cd710a769079c05bfc5d8e35efa6576edc7d0377afdd4a2', 'd41d8cd98f00b204e9800998ecf8427e', 'd60939875b169bf83e58df605773205735a7ce6b2dc5499e2cd33d3566a5c774', 67108864, 'registry.test/team/webapi', '2fd4e1c67a2d28fced849ee1bb76e7391b93eb12', 'main', 'li', 'https://gitlab.example.com/team/webapi/-/pipelines/1', 'fixes the search', 'ci', '2026-01-31T12:00:00.000Z', '2026-01-31T12:00:00.000Z', null, null, null, null, null);
insert into deployments values ('d1', 1, 'webapi', 'test', '1.0.0', 'sha256:3372b594c5f179945b6b7a4fd969ffbd959440676d20f7f5b8efc735756147e6', 'sha256:b79606fb3afea5bd1609ed40b622142f1c98125abcfe89a76a661b0e8e343910', 'li', 'Robert''); DROP TABLE releases;-- "\'' %_ 
	 é 漢字 😀 ${x} ; --', 'succeeded', '2026-01-31T12:00:00.000Z', '2026-01-31T12:00:00.000Z', null, 1, 'deploy', null, null, null, null, 0);
insert into deployments values ('d2', 2, 'webapi', 'test', '1.0.1', 'sha256:d2f5bdc29071979f2e601802b35934c46ef0470512e3dc994b6c4f2aca45ea72', 'sha256:b79606fb3afea5bd1609ed40b622142f1c98125abcfe89a76a661b0e8e343910', 'li', null, 'running', '2026-01-31T12:00:00.000Z', null, null, 0, 'deploy', null, null, null, null, 0);
insert into deployment_hosts values ('d1', 0, 'app-01', 'new-app-01', null, 'http://app-01:8080', 1, 4200);
insert into deployment_hosts values ('d1', 1, 'app-02', 'new-app-02', null, 'http://app-02:8080', 0, 4200);
insert into config_revisions values ('r1', '{"/webapi/a":"1"}', '2026-01-31T12:00:00.000Z');
insert into locks values ('webapi', 'test', 'li', 'why', 1, '2026-01-31T12:01:00.000Z');
insert into config_changes values (1, 'webapi', 'test', 'li', null, '2026-01-31T12:00:00.000Z', null, null);
insert into config_change_keys values (1, 0, '/webapi/a', 'ce684943f866b9f1b40a042910057b4c09a0980392777e9db7062e79bf09bf75', 'absent', null, 'kept', 'Robert''); DROP TABLE releases;-- "\'' %_ 
	 é 漢字 😀 ${x} ; --');
insert into config_change_keys values (1, 1, '/webapi/b', 'f158eca8a4befe3c9f83f9681dded9ef2b5401c45d2c7c00ac0daeeba0970e80', 'withheld', null, 'absent', null);
insert into current_deployments values ('webapi', 'test', 1);
insert into facts values ('id', '9cc37fbd-d837-4c86-a49d-1d6f58c2bb07');
insert into audit_events values (1, 'webapi', 'test', 'hosts stop', null, 'li', null, 'unverified', 'stocktaking', null, '2026-11-30T20:36:07.140Z');
CREATE TRIGGER releases_counted before insert on releases
      when new.number > coalesce((select value from counters where name = 'release'), 0)
      begin select raise(abort, 'a number is taken from its counter'); end;
CREATE TRIGGER deployments_counted before insert on deployments
      when new.number > coalesce((select value from counters where name = 'deployment'), 0)
      begin select raise(abort, 'a number is taken from its counter'); end;
CREATE TRIGGER config_changes_counted before insert on config_changes
      when new.number > coalesce((select value from counters where name = 'config-change'), 0)
      begin select raise(abort, 'a number is taken from its counter'); end;
CREATE TRIGGER approvals_counted before insert on approvals
      when new.number > coalesce((select value from counters where name = 'approval'), 0)
      begin select raise(abort, 'a number is taken from its counter'); end;
CREATE TRIGGER marks_counted before insert on marks
      when new.number > coalesce((select value from counters where name = 'mark'), 0)
      begin select raise(abort, 'a number is taken from its counter'); end;
CREATE TRIGGER audit_events_counted before insert on audit_events
      when new.number > coalesce((select value from counters where name = 'audit-event'), 0)
      begin select raise(abort, 'a number is taken from its counter'); end;
CREATE TRIGGER deployments_forward before update on deployments
      when old.id is not new.id or old.number is not new.number or old.app is not new.app or old.environment is not new.environment or old.version is not new.version or old.digest is not new.digest or old.config_revision is not new.config_revision or old.started_by is not new.started_by or old.reason is not new.reason or old.started_at is not new.started_at or old.kind is not new.kind or old.lock_token is not new.lock_token or old.replaced is not new.replaced or old.identity is not new.identity or old.job_url is not new.job_url or old.forced is not new.forced or not (
      old.state = 'running' and new.state in ('succeeded', 'failed', 'abandoned')
      or old.state = 'abandoned' and new.state in ('succeeded', 'failed'))
      begin select raise(abort, 'a deployment ends once, and what it was does not change'); end;
CREATE TRIGGER deployment_hosts_open before insert on deployment_hosts
      when coalesce((select state from deployments where id = new.deployment), '') not in ('running', 'abandoned')
      begin select raise(abort, 'a deployment that has ended gets no more hosts'); end;
CREATE TRIGGER deployment_approvals_open before insert on deployment_approvals
      when coalesce((select state from deployments where id = new.deployment), '') <> 'running'
      begin select raise(abort, 'a deployment that has ended gets no more approvals'); end;
CREATE TRIGGER current_deployments_true before insert on current_deployments
      when not exists (select 1 from deployments where number = new.number
  and app = new.app and environment = new.environment and state = 'succeeded')
      begin select raise(abort, 'only a deployment that succeeded there runs there'); end;
CREATE TRIGGER current_deployments_forward before update on current_deployments
      when old.app is not new.app or old.environment is not new.environment or new.number < old.number
      or not exists (select 1 from deployments where number = new.number
  and app = new.app and environment = new.environment and state = 'succeeded')
      begin select raise(abort, 'only a newer deployment that succeeded there takes the place of one'); end;
CREATE TRIGGER counters_forward before update on counters
      when old.name is not new.name or new.value < old.value
      begin select raise(abort, 'a counter only grows'); end;
