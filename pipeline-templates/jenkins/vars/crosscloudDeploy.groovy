// Generated from src/steps/deploy.ts by `npm run generate`. Do not edit.

Map call(Map inputs = [:]) {
    return crosscloud.step('deploy', [
        release: 'CROSSCLOUD_RELEASE',
        env: 'CROSSCLOUD_ENV',
        reason: 'CROSSCLOUD_REASON',
        force: 'CROSSCLOUD_FORCE',
        lockWait: 'CROSSCLOUD_LOCK_WAIT',
    ], inputs)
}
