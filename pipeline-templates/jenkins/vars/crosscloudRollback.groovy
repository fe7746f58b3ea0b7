// Generated from src/steps/rollback.ts by `npm run generate`. Do not edit.

Map call(Map inputs = [:]) {
    return crosscloud.step('rollback', [
        env: 'CROSSCLOUD_ENV',
        to: 'CROSSCLOUD_TO',
        config: 'CROSSCLOUD_CONFIG',
        reason: 'CROSSCLOUD_REASON',
        force: 'CROSSCLOUD_FORCE',
        lockWait: 'CROSSCLOUD_LOCK_WAIT',
    ], inputs)
}
