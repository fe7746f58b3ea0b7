set foreign_key_checks = 0;
CREATE TABLE `applications` (
  `name` varchar(63) NOT NULL,
  `last_version` varchar(128) DEFAULT NULL,
  `created_at` varchar(24) NOT NULL,
  PRIMARY KEY (`name`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
INSERT INTO `applications` VALUES ('shop','1.0.0','2026-01-31T12:00:00.000Z');
INSERT INTO `applications` VALUES ('webapi','1.0.1','2026-01-31T12:00:00.000Z');
CREATE TABLE `approval_tokens` (
  `approval` bigint(20) NOT NULL,
  `token` longtext NOT NULL,
  `public_key` longtext NOT NULL,
  PRIMARY KEY (`approval`),
  CONSTRAINT `approval_tokens_approval` FOREIGN KEY (`approval`) REFERENCES `approvals` (`number`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
CREATE TABLE `approvals` (
  `number` bigint(20) NOT NULL,
  `app` varchar(63) NOT NULL,
  `environment` varchar(63) NOT NULL,
  `version` varchar(128) NOT NULL,
  `digest` varchar(71) NOT NULL,
  `decision` varchar(16) NOT NULL,
  `decided_by` varchar(255) NOT NULL,
  `member_of` longtext NOT NULL,
  `identity` varchar(255) NOT NULL,
  `reason` longtext DEFAULT NULL,
  `decided_at` varchar(24) NOT NULL,
  `decided_by_id` varchar(64) DEFAULT NULL,
  `decided_by_mail` varchar(255) DEFAULT NULL,
  `token_hash` varchar(64) DEFAULT NULL,
  `config_revision` varchar(128) DEFAULT NULL,
  PRIMARY KEY (`number`),
  UNIQUE KEY `approvals_place` (`app`,`environment`,`version`,`number`),
  UNIQUE KEY `approvals_token` (`token_hash`),
  KEY `approvals_release` (`app`,`version`),
  CONSTRAINT `approvals_release` FOREIGN KEY (`app`, `version`) REFERENCES `releases` (`app`, `version`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
CREATE TABLE `audit_events` (
  `number` bigint(20) NOT NULL,
  `app` varchar(63) NOT NULL,
  `environment` varchar(63) NOT NULL,
  `action` varchar(32) NOT NULL,
  `subject` longtext DEFAULT NULL,
  `done_by` varchar(255) NOT NULL,
  `done_by_id` varchar(64) DEFAULT NULL,
  `identity` varchar(255) NOT NULL,
  `reason` longtext DEFAULT NULL,
  `job_url` longtext DEFAULT NULL,
  `done_at` varchar(24) NOT NULL,
  PRIMARY KEY (`number`),
  KEY `audit_events_app` (`app`,`environment`,`number`),
  CONSTRAINT `audit_events_app` FOREIGN KEY (`app`) REFERENCES `applications` (`name`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
INSERT INTO `audit_events` VALUES (1,'webapi','test','hosts stop',NULL,'li',NULL,'unverified','stocktaking',NULL,'2026-11-30T20:36:09.004Z');
CREATE TABLE `config_change_keys` (
  `number` bigint(20) NOT NULL,
  `position` int(11) NOT NULL,
  `key_name` varchar(1024) NOT NULL,
  `key_hash` varchar(64) NOT NULL,
  `before_state` varchar(8) NOT NULL,
  `before_text` longtext DEFAULT NULL,
  `after_state` varchar(8) NOT NULL,
  `after_text` longtext DEFAULT NULL,
  PRIMARY KEY (`number`,`position`),
  UNIQUE KEY `config_change_keys_name` (`key_hash`,`number`),
  CONSTRAINT `config_change_keys_set` FOREIGN KEY (`number`) REFERENCES `config_changes` (`number`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
INSERT INTO `config_change_keys` VALUES (1,0,'/webapi/a','ce684943f866b9f1b40a042910057b4c09a0980392777e9db7062e79bf09bf75','absent',NULL,'kept','Robert\'); DROP TABLE releases;-- \"\\\' %_ \n\t é 漢字 😀 ${x} ; --');
INSERT INTO `config_change_keys` VALUES (1,1,'/webapi/b','f158eca8a4befe3c9f83f9681dded9ef2b5401c45d2c7c00ac0daeeba0970e80','withheld',NULL,'absent',NULL);
CREATE TABLE `config_changes` (
  `number` bigint(20) NOT NULL,
  `app` varchar(63) NOT NULL,
  `environment` varchar(63) NOT NULL,
  `changed_by` varchar(255) NOT NULL,
  `reason` longtext DEFAULT NULL,
  `changed_at` varchar(24) NOT NULL,
  `request` varchar(64) DEFAULT NULL,
  `identity` varchar(255) DEFAULT NULL,
  PRIMARY KEY (`number`),
  UNIQUE KEY `config_changes_app` (`app`,`environment`,`number`),
  UNIQUE KEY `config_changes_request` (`request`),
  CONSTRAINT `config_changes_application` FOREIGN KEY (`app`) REFERENCES `applications` (`name`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
INSERT INTO `config_changes` VALUES (1,'webapi','test','li',NULL,'2026-01-31T12:00:00.000Z',NULL,NULL);
CREATE TABLE `config_revisions` (
  `revision` varchar(128) NOT NULL,
  `content` longtext NOT NULL,
  `recorded_at` varchar(24) NOT NULL,
  PRIMARY KEY (`revision`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
INSERT INTO `config_revisions` VALUES ('r1','{\"/webapi/a\":\"1\"}','2026-01-31T12:00:00.000Z');
CREATE TABLE `counters` (
  `name` varchar(32) NOT NULL,
  `value` bigint(20) NOT NULL,
  PRIMARY KEY (`name`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
INSERT INTO `counters` VALUES ('approval',0);
INSERT INTO `counters` VALUES ('audit-event',1);
INSERT INTO `counters` VALUES ('config-change',1);
INSERT INTO `counters` VALUES ('deployment',2);
INSERT INTO `counters` VALUES ('lock',1);
INSERT INTO `counters` VALUES ('mark',0);
INSERT INTO `counters` VALUES ('release',3);
CREATE TABLE `current_deployments` (
  `app` varchar(63) NOT NULL,
  `environment` varchar(63) NOT NULL,
  `number` bigint(20) NOT NULL,
  PRIMARY KEY (`app`,`environment`),
  KEY `current_deployments_number` (`number`),
  CONSTRAINT `current_deployments_number` FOREIGN KEY (`number`) REFERENCES `deployments` (`number`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
INSERT INTO `current_deployments` VALUES ('webapi','test',1);
CREATE TABLE `deployment_approvals` (
  `deployment` varchar(32) NOT NULL,
  `approval` bigint(20) NOT NULL,
  PRIMARY KEY (`deployment`,`approval`),
  KEY `deployment_approvals_approval` (`approval`),
  CONSTRAINT `deployment_approvals_approval` FOREIGN KEY (`approval`) REFERENCES `approvals` (`number`),
  CONSTRAINT `deployment_approvals_deployment` FOREIGN KEY (`deployment`) REFERENCES `deployments` (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
CREATE TABLE `deployment_hosts` (
  `deployment` varchar(32) NOT NULL,
  `position` int(11) NOT NULL,
  `host` varchar(255) NOT NULL,
  `container_id` varchar(255) DEFAULT NULL,
  `previous_container_id` varchar(255) DEFAULT NULL,
  `url` longtext DEFAULT NULL,
  `ok` int(11) NOT NULL,
  `duration` bigint(20) NOT NULL,
  PRIMARY KEY (`deployment`,`position`),
  UNIQUE KEY `deployment_hosts_host` (`deployment`,`host`),
  CONSTRAINT `deployment_hosts_deployment` FOREIGN KEY (`deployment`) REFERENCES `deployments` (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
INSERT INTO `deployment_hosts` VALUES ('d1',0,'app-01','new-app-01',NULL,'http://app-01:8080',1,4200);
INSERT INTO `deployment_hosts` VALUES ('d1',1,'app-02','new-app-02',NULL,'http://app-02:8080',0,4200);
CREATE TABLE `deployments` (
  `id` varchar(32) NOT NULL,
  `number` bigint(20) NOT NULL,
  `app` varchar(63) NOT NULL,
  `environment` varchar(63) NOT NULL,
  `version` varchar(128) NOT NULL,
  `digest` varchar(71) NOT NULL,
  `config_revision` varchar(128) NOT NULL,
  `started_by` varchar(255) NOT NULL,
  `reason` longtext DEFAULT NULL,
  `state` varchar(16) NOT NULL,
  `started_at` varchar(24) NOT NULL,
  `finished_at` varchar(24) DEFAULT NULL,
  `error` longtext DEFAULT NULL,
  `verified` int(11) NOT NULL,
  `kind` varchar(16) NOT NULL DEFAULT 'deploy',
  `lock_token` bigint(20) DEFAULT NULL,
  `replaced` varchar(32) DEFAULT NULL,
  `identity` varchar(255) DEFAULT NULL,
  `job_url` longtext DEFAULT NULL,
  `forced` int(11) NOT NULL DEFAULT 0,
  PRIMARY KEY (`id`),
  UNIQUE KEY `deployments_number` (`number`),
  UNIQUE KEY `deployments_lock` (`lock_token`),
  KEY `deployments_app` (`app`,`environment`,`number`),
  KEY `deployments_environment` (`environment`,`number`),
  KEY `deployments_state` (`state`,`app`,`environment`,`number`),
  KEY `deployments_newest` (`app`,`number`),
  KEY `deployments_release_newest` (`app`,`version`,`number`),
  KEY `deployments_by` (`started_by`,`number`),
  KEY `deployments_state_newest` (`state`,`number`),
  KEY `deployments_started` (`started_at`,`number`),
  CONSTRAINT `deployments_release` FOREIGN KEY (`app`, `version`) REFERENCES `releases` (`app`, `version`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
INSERT INTO `deployments` VALUES ('d1',1,'webapi','test','1.0.0','sha256:3372b594c5f179945b6b7a4fd969ffbd959440676d20f7f5b8efc735756147e6','sha256:b79606fb3afea5bd1609ed40b622142f1c98125abcfe89a76a661b0e8e343910','li','Robert\'); DROP TABLE releases;-- \"\\\' %_ \n\t é 漢字 😀 ${x} ; --','succeeded','2026-01-31T12:00:00.000Z','2026-01-31T12:00:00.000Z',NULL,1,'deploy',NULL,NULL,NULL,NULL,0);
INSERT INTO `deployments` VALUES ('d2',2,'webapi','test','1.0.1','sha256:d2f5bdc29071979f2e601802b35934c46ef0470512e3dc994b6c4f2aca45ea72','sha256:b79606fb3afea5bd1609ed40b622142f1c98125abcfe89a76a661b0e8e343910','li',NULL,'running','2026-01-31T12:00:00.000Z',NULL,NULL,0,'deploy',NULL,NULL,NULL,NULL,0);
CREATE TABLE `facts` (
  `name` varchar(32) NOT NULL,
  `value` varchar(255) NOT NULL,
  PRIMARY KEY (`name`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
INSERT INTO `facts` VALUES ('id','e7402363-90c4-4c88-8728-59ed794db01e');
CREATE TABLE `hosts` (
  `app` varchar(63) NOT NULL,
  `environment` varchar(63) NOT NULL,
  `name` varchar(255) NOT NULL,
  `address` varchar(255) NOT NULL,
  `first_deployment` varchar(32) NOT NULL,
  PRIMARY KEY (`app`,`environment`,`name`,`address`),
  KEY `hosts_first` (`first_deployment`),
  CONSTRAINT `hosts_first` FOREIGN KEY (`first_deployment`) REFERENCES `deployments` (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
CREATE TABLE `kysely_migration` (
  `name` varchar(255) NOT NULL,
  `timestamp` varchar(255) NOT NULL,
  PRIMARY KEY (`name`)
) ENGINE=InnoDB DEFAULT CHARSET=latin1 COLLATE=latin1_swedish_ci;
INSERT INTO `kysely_migration` VALUES ('0001-first','2026-11-23T08:37:28.817Z');
INSERT INTO `kysely_migration` VALUES ('0002-config-changes','2026-11-23T08:37:28.826Z');
INSERT INTO `kysely_migration` VALUES ('0003-deployment-life','2026-11-29T22:46:22.805Z');
INSERT INTO `kysely_migration` VALUES ('0004-trust','2026-11-30T20:36:08.997Z');
CREATE TABLE `kysely_migration_lock` (
  `id` varchar(255) NOT NULL,
  `is_locked` int(11) NOT NULL DEFAULT 0,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=latin1 COLLATE=latin1_swedish_ci;
INSERT INTO `kysely_migration_lock` VALUES ('migration_lock',0);
CREATE TABLE `lock_queue` (
  `number` bigint(20) NOT NULL,
  `app` varchar(63) NOT NULL,
  `environment` varchar(63) NOT NULL,
  `owner` varchar(255) NOT NULL,
  `reason` longtext NOT NULL,
  `expires_at` varchar(24) NOT NULL,
  PRIMARY KEY (`number`),
  UNIQUE KEY `lock_queue_owner` (`app`,`environment`,`owner`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
CREATE TABLE `locks` (
  `app` varchar(63) NOT NULL,
  `environment` varchar(63) NOT NULL,
  `owner` varchar(255) NOT NULL,
  `reason` longtext NOT NULL,
  `token` bigint(20) NOT NULL,
  `expires_at` varchar(24) NOT NULL,
  PRIMARY KEY (`app`,`environment`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
INSERT INTO `locks` VALUES ('webapi','test','li','why',1,'2026-01-31T12:01:00.000Z');
CREATE TABLE `marks` (
  `number` bigint(20) NOT NULL,
  `app` varchar(63) NOT NULL,
  `environment` varchar(63) NOT NULL,
  `version` varchar(128) NOT NULL,
  `bad` int(11) NOT NULL,
  `marked_by` varchar(255) NOT NULL,
  `reason` longtext NOT NULL,
  `marked_at` varchar(24) NOT NULL,
  `identity` varchar(255) DEFAULT NULL,
  PRIMARY KEY (`number`),
  UNIQUE KEY `marks_place` (`app`,`environment`,`version`,`number`),
  KEY `marks_release` (`app`,`version`),
  CONSTRAINT `marks_release` FOREIGN KEY (`app`, `version`) REFERENCES `releases` (`app`, `version`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
CREATE TABLE `releases` (
  `app` varchar(63) NOT NULL,
  `version` varchar(128) NOT NULL,
  `number` bigint(20) NOT NULL,
  `digest` varchar(71) NOT NULL,
  `base_digest` varchar(71) DEFAULT NULL,
  `war_md5` varchar(32) NOT NULL,
  `war_sha256` varchar(64) NOT NULL,
  `war_size` bigint(20) NOT NULL,
  `repository` varchar(512) NOT NULL,
  `commit_id` varchar(64) DEFAULT NULL,
  `branch` varchar(255) DEFAULT NULL,
  `author` varchar(255) DEFAULT NULL,
  `pipeline_url` longtext DEFAULT NULL,
  `reason` longtext DEFAULT NULL,
  `baked_by` varchar(255) NOT NULL,
  `baked_at` varchar(24) NOT NULL,
  `recorded_at` varchar(24) NOT NULL,
  `job_url` longtext DEFAULT NULL,
  `committed_at` varchar(24) DEFAULT NULL,
  `baked_identity` varchar(255) DEFAULT NULL,
  `baked_by_id` varchar(64) DEFAULT NULL,
  `baked_by_mail` varchar(255) DEFAULT NULL,
  PRIMARY KEY (`app`,`version`),
  KEY `releases_newest` (`app`,`number`),
  KEY `releases_digest` (`app`,`digest`,`number`),
  CONSTRAINT `releases_app` FOREIGN KEY (`app`) REFERENCES `applications` (`name`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
INSERT INTO `releases` VALUES ('shop','1.0.0',3,'sha256:3372b594c5f179945b6b7a4fd969ffbd959440676d20f7f5b8efc735756147e6','sha256:cae662172fd450bb0cd710a769079c05bfc5d8e35efa6576edc7d0377afdd4a2','d41d8cd98f00b204e9800998ecf8427e','d60939875b169bf83e58df605773205735a7ce6b2dc5499e2cd33d3566a5c774',67108864,'registry.test/team/webapi','2fd4e1c67a2d28fced849ee1bb76e7391b93eb12','main','li','https://gitlab.example.com/team/webapi/-/pipelines/1','fixes the search','ci','2026-01-31T12:00:00.000Z','2026-01-31T12:00:00.000Z',NULL,NULL,NULL,NULL,NULL);
INSERT INTO `releases` VALUES ('webapi','1.0.0',1,'sha256:3372b594c5f179945b6b7a4fd969ffbd959440676d20f7f5b8efc735756147e6','sha256:cae662172fd450bb0cd710a769079c05bfc5d8e35efa6576edc7d0377afdd4a2','d41d8cd98f00b204e9800998ecf8427e','d60939875b169bf83e58df605773205735a7ce6b2dc5499e2cd33d3566a5c774',67108864,'registry.test/team/webapi','2fd4e1c67a2d28fced849ee1bb76e7391b93eb12','main','li','https://gitlab.example.com/team/webapi/-/pipelines/1','fixes the search','ci','2026-01-31T12:00:00.000Z','2026-01-31T12:00:00.000Z',NULL,NULL,NULL,NULL,NULL);
INSERT INTO `releases` VALUES ('webapi','1.0.1',2,'sha256:d2f5bdc29071979f2e601802b35934c46ef0470512e3dc994b6c4f2aca45ea72',NULL,'d41d8cd98f00b204e9800998ecf8427e','2194ea94b9146663beea31c67d2846a7634b05d3cfc5bec4cabb04ec1572a44c',67108864,'registry.test/team/webapi',NULL,'main','li','https://gitlab.example.com/team/webapi/-/pipelines/1','fixes the search','ci','2026-01-31T12:00:00.000Z','2026-01-31T12:00:00.000Z',NULL,NULL,NULL,NULL,NULL);
