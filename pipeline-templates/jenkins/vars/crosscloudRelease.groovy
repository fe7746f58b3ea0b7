// Generated from src/steps/release.ts by `npm run generate`. Do not edit.

Map call(Map inputs = [:]) {
    return crosscloud.step('release', [
        env: 'CROSSCLOUD_ENV',
        version: 'CROSSCLOUD_VERSION',
        reason: 'CROSSCLOUD_REASON',
        lockWait: 'CROSSCLOUD_LOCK_WAIT',
        deploy: 'CROSSCLOUD_DEPLOY',
    ], inputs)
}
