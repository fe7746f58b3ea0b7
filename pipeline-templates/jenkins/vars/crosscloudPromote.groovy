// Generated from src/steps/promote.ts by `npm run generate`. Do not edit.

Map call(Object... given) {
    return crosscloud.step(
        given,
        variable: 'crosscloudPromote',
        name: 'promote',
        inputs: ['release', 'to', 'reason', 'force', 'older', 'acrossMigration', 'lockWait', 'deploy', 'plan'],
        attempts: 3
    )
}
