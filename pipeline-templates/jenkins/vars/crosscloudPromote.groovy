// Generated from src/steps/promote.ts by `npm run generate`. Do not edit.

Map call(Map inputs = [:]) {
    return crosscloud.step('promote', [
        release: 'CROSSCLOUD_RELEASE',
        to: 'CROSSCLOUD_TO',
        reason: 'CROSSCLOUD_REASON',
        force: 'CROSSCLOUD_FORCE',
        lockWait: 'CROSSCLOUD_LOCK_WAIT',
        deploy: 'CROSSCLOUD_DEPLOY',
    ], inputs)
}
